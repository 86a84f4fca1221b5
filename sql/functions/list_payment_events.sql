-- Planned for what is asked, as in _payments_found().
create or replace function pgledger.list_payment_events(
  status pgledger.payment_event_status default null,
  provider text default null,
  limit_count bigint default 100,
  before timestamptz default null
) returns setof pgledger.payment_event
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_payment_events.limit_count);
  v_provider text collate "default" := list_payment_events.provider;
begin
  return query
    select e.provider, e.event_id, e.type, e.status, e.attempts, e.error, e.result, e.occurred_at,
      e.received_at, e.processed_at, false
    from pgledger.payment_events e
    where (list_payment_events.status is null or e.status = list_payment_events.status)
      and (v_provider is null or e.provider = v_provider)
      and e.received_at < coalesce(list_payment_events.before, 'infinity')
    order by e.received_at desc, e.provider collate "C", e.event_id collate "C"
    limit v_limit;
end;
$$;

comment on function pgledger.list_payment_events(
  pgledger.payment_event_status, text, bigint, timestamptz) is
  'What providers sent, without the payload, the latest first: limit_count of them (1 to 10000), '
  'received before an instant where given (the received_at of the last one seen), of one status '
  'and provider where given. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_payment_events(
  pgledger.payment_event_status, text, bigint, timestamptz) from public;
