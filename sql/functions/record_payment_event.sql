-- Three statements, as in _lock_payment().
create or replace function pgledger.record_payment_event(
  provider text,
  event_id text,
  type text,
  payload text,
  occurred_at timestamptz default null
) returns pgledger.payment_event
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_event pgledger.payment_events;
  v_is_new boolean;
  v_now timestamptz := clock_timestamp();
begin
  perform pgledger._checked_provider(record_payment_event.provider collate "default");
  perform pgledger._checked_provider_id(
    'event_id', record_payment_event.event_id collate "default");
  perform pgledger._checked_provider_id('type', record_payment_event.type collate "default");
  if not coalesce(octet_length(record_payment_event.payload) between 1 and 1048576, false) then
    perform pgledger._reject('payload', record_payment_event.payload,
      'The body as it came, at most 1 MiB.');
  end if;
  if not isfinite(record_payment_event.occurred_at) then
    perform pgledger._reject('occurred_at', record_payment_event.occurred_at::text,
      'Give a finite point in time, or none.');
  end if;

  insert into pgledger.payment_events (provider, event_id, type, payload, occurred_at, received_at)
  values (
    record_payment_event.provider, record_payment_event.event_id, record_payment_event.type,
    record_payment_event.payload, record_payment_event.occurred_at, v_now)
  on conflict (provider, event_id) do nothing;
  v_is_new := found;

  select e.* into strict v_event
  from pgledger.payment_events e
  where e.provider = record_payment_event.provider collate "default"
    and e.event_id = record_payment_event.event_id collate "default"
  for update;
  return pgledger._event_told(v_event, v_is_new);
end;
$$;

comment on function pgledger.record_payment_event(text, text, text, text, timestamptz) is
  'Records what a provider sent, by its own event_id, as RECEIVED; a repeat, at once or a year '
  'later, is answered with what there is, is_new false, and changes nothing. payload is the body, '
  'verbatim, at most 1 MiB. The event is locked until the transaction ends: call '
  'process_payment_event in the same one. Refuses with 22023 and 22004.';

revoke all on function
  pgledger.record_payment_event(text, text, text, text, timestamptz) from public;
