create or replace function pgledger.get_payment_event(provider text, event_id text)
returns setof pgledger.payment_events
language sql stable security definer rows 1
set search_path = pg_catalog, pg_temp
begin atomic
  select e.*
  from pgledger.payment_events e
  where e.provider = pgledger._checked_provider(get_payment_event.provider)
    and e.event_id = pgledger._checked_provider_id('event_id', get_payment_event.event_id);
end;

comment on function pgledger.get_payment_event(text, text) is
  'What a provider sent, with the payload, and what became of it; no row when nobody recorded it. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.get_payment_event(text, text) from public;
