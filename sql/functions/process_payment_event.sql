create or replace function pgledger.process_payment_event(
  provider text,
  event_id text,
  facts jsonb
) returns pgledger.payment_event
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_event pgledger.payment_events;
begin
  perform pgledger._checked_provider(process_payment_event.provider collate "default");
  perform pgledger._checked_provider_id(
    'event_id', process_payment_event.event_id collate "default");
  if jsonb_typeof(process_payment_event.facts) is distinct from 'array' then
    perform pgledger._reject('facts', process_payment_event.facts::text,
      'A JSON array of objects, each with its record and what is told of it; empty for none.');
  end if;

  select e.* into v_event
  from pgledger.payment_events e
  where e.provider = process_payment_event.provider collate "default"
    and e.event_id = process_payment_event.event_id collate "default"
  for update;
  if not found then
    raise exception using
      errcode = 'LG006',
      message = 'payment event not found',
      detail = jsonb_build_object(
        'provider', process_payment_event.provider,
        'event_id', process_payment_event.event_id)::text,
      hint = 'Record it first, with record_payment_event.';
  elsif v_event.status in ('PROCESSED', 'IGNORED') then
    return pgledger._event_told(v_event, false);
  end if;

  v_event.attempts := v_event.attempts + 1;
  v_event.error := null;
  if process_payment_event.facts = '[]' then
    v_event.status := 'IGNORED';
  else
    v_event := pgledger._try_facts(v_event, process_payment_event.facts);
  end if;
  v_event.processed_at := greatest(v_event.received_at, clock_timestamp());

  update pgledger.payment_events e
  set status = v_event.status, attempts = v_event.attempts, error = v_event.error,
    result = v_event.result, processed_at = v_event.processed_at
  where e.provider = v_event.provider and e.event_id = v_event.event_id;
  return pgledger._event_told(v_event, false);
end;
$$;

comment on function pgledger.process_payment_event(text, text, jsonb) is
  'Applies what a recorded event tells, all of it or nothing: an array of facts, objects with '
  'record (payment, refund, dispute, card_check or cancellation) and, by name, the parameters of '
  'record_payment, record_payment_refund, record_dispute and record_card_check but for the '
  'provider; a cancellation has account_id, key and reason, and drops an announced top-up that '
  'still waits. An event without facts is IGNORED. One whose facts are refused is FAILED, keeps '
  'the sqlstate and a message without any data, and may be processed again; what says that the '
  'transaction should be run again, or that the server is at fault, is raised. A PROCESSED or '
  'IGNORED event is answered as it is. Refuses with LG006 (nobody recorded it), 22023 and 22004.';

revoke all on function pgledger.process_payment_event(text, text, jsonb) from public;
