-- An account's events are handed out as a run, from the first that is not acknowledged: the lock on
-- that one, and then its being invisible, keep everybody else away from the rest, so that an
-- account's events are handled in order. The first ones are found by skipping from account to
-- account, since a backlog may be thousands of events of a few accounts.
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
  v_left bigint := pgledger._checked_limit(claim_events.limit_count);
  v_now timestamptz := clock_timestamp();
  v_head record;
  v_event record;
begin
  if not coalesce(claim_events.visibility_timeout > interval '0'
    and claim_events.visibility_timeout <= interval '1 day', false)
  then
    perform pgledger._reject('visibility_timeout', claim_events.visibility_timeout::text,
      'Above 0 and at most a day.');
  end if;

  for v_head in select h.account_id, h.seq from pgledger._first_events(v_now) h loop
    exit when v_left = 0;
    perform from pgledger.events e
    where e.account_id = v_head.account_id and e.seq = v_head.seq
      and e.acked_at is null and e.visible_at <= v_now
    for update skip locked;
    continue when not found;

    for v_event in
      select c.* from pgledger._claim_run(
        v_head.account_id, v_head.seq, v_left, v_now + claim_events.visibility_timeout) c
    loop
      v_left := v_left - 1;
      return query select v_event.account_id, v_event.seq, v_event.kind, v_event.payload,
        v_event.created_at, v_event.deliveries;
    end loop;
  end loop;
end;
$$;

comment on function pgledger.claim_events(bigint, interval) is
  'Hands out up to limit_count events (1 to 10000), those of an account together and in order, '
  'and none of that account to anybody else before visibility_timeout (above 0, at most a day) is '
  'over or they are acknowledged. Handle them in the order they come, each followed by '
  'ack_events: each is handed out at least once. deliveries counts how often it was. LISTEN '
  'pgledger_events to be woken, and poll all the same. Refuses with 22023 and 22004.';

revoke all on function pgledger.claim_events(bigint, interval) from public;
