create or replace function pgledger._first_events(at timestamptz)
returns table (account_id text, seq bigint)
language sql stable
begin atomic
  with recursive heads as (
    (
      select e.account_id, e.seq, e.visible_at
      from pgledger.events e
      where e.acked_at is null
      order by e.account_id, e.seq
      limit 1
    )
    union all
    select n.account_id, n.seq, n.visible_at
    from heads h
    cross join lateral (
      select e.account_id, e.seq, e.visible_at
      from pgledger.events e
      where e.acked_at is null and e.account_id > h.account_id
      order by e.account_id, e.seq
      limit 1
    ) n
  )
  select h.account_id, h.seq
  from heads h
  where h.visible_at <= _first_events.at
  order by h.visible_at, h.account_id collate "C";
end;

comment on function pgledger._first_events(timestamptz) is
  'The first event of each account that is not acknowledged, where it may be handed out at an '
  'instant: one index probe an account. Private.';

revoke all on function pgledger._first_events(timestamptz) from public;
