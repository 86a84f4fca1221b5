-- Only the first event of an account that is not acknowledged: so whoever works on it, an account's
-- events are handled in order.
create or replace function pgledger.claim_events(
  limit_count bigint default 100,
  visibility_timeout interval default '1 minute'
) returns table (
  account_id text,
  seq bigint,
  kind text,
  payload jsonb,
  created_at timestamptz,
  deliveries bigint
)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_limit bigint := pgledger._checked_limit(claim_events.limit_count);
  v_now timestamptz := clock_timestamp();
  v_visible_at timestamptz;
  v_event record;
begin
  if not coalesce(claim_events.visibility_timeout > interval '0'
    and claim_events.visibility_timeout <= interval '1 day', false)
  then
    perform pgledger._reject('visibility_timeout', claim_events.visibility_timeout::text,
      'Above 0 and at most a day.');
  end if;
  v_visible_at := v_now + claim_events.visibility_timeout;

  for v_event in
    select e.account_id, e.seq
    from pgledger.events e
    where e.acked_at is null
      and e.visible_at <= v_now
      and not exists (
        select from pgledger.events h
        where h.account_id = e.account_id and h.seq < e.seq and h.acked_at is null)
    order by e.visible_at, e.account_id collate "C"
    limit v_limit
    for update of e skip locked
  loop
    return query
      update pgledger.events e
      set visible_at = v_visible_at, deliveries = e.deliveries + 1
      where e.account_id = v_event.account_id and e.seq = v_event.seq
      returning e.account_id, e.seq, e.kind, e.payload, e.created_at, e.deliveries;
  end loop;
end;
$$;

comment on function pgledger.claim_events(bigint, interval) is
  'Hands out up to limit_count events (1 to 10000), the first of each account that is not '
  'acknowledged, and to nobody else before visibility_timeout (above 0, at most a day) is over. '
  'Handle them, then ack_events: each is handed out at least once, an account''s in order. '
  'deliveries counts how often it was. LISTEN pgledger_events to be woken. Refuses with 22023 and '
  '22004.';

revoke all on function pgledger.claim_events(bigint, interval) from public;
