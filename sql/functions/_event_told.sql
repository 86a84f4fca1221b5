create or replace function pgledger._event_told(
  event pgledger.payment_events, is_new boolean
) returns pgledger.payment_event
language sql immutable parallel safe
return row(
  (event).provider, (event).event_id, (event).type, (event).status, (event).attempts,
  (event).error, (event).result, (event).occurred_at, (event).received_at, (event).processed_at,
  is_new)::pgledger.payment_event;

comment on function pgledger._event_told(pgledger.payment_events, boolean) is
  'An event of a provider as the functions answer it: without its payload. Private.';

revoke all on function pgledger._event_told(pgledger.payment_events, boolean) from public;
