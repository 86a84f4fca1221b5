create or replace function pgledger._try_facts(event pgledger.payment_events, facts jsonb)
returns pgledger.payment_events
language plpgsql
as $$
declare
  v_event pgledger.payment_events := event;
  v_code text;
  v_message text;
  v_detail text;
  v_hint text;
begin
  v_event.result := pgledger._apply_facts(event, _try_facts.facts);
  v_event.status := 'PROCESSED';
  return v_event;
exception when others then
  get stacked diagnostics v_code = returned_sqlstate, v_message = message_text,
    v_detail = pg_exception_detail, v_hint = pg_exception_hint;
  -- Whoever runs the transaction again may succeed: that is no failure of the event.
  if left(v_code, 2) in ('08', '25', '40', '53', '57', '58', 'XX') or v_code = '55P03' then
    raise;
  end if;

  v_event.status := 'FAILED';
  -- The ledger's own words hold no data, nor does what PostgreSQL says of rules and rights (but
  -- for their details); of values it says what they were.
  v_event.error := jsonb_build_object('sqlstate', v_code, 'message', case
    when left(v_code, 2) in ('23', '42') or (left(v_detail, 1) = '{' and v_hint <> '')
      then v_message
    else 'refused by PostgreSQL' end);
  return v_event;
end;
$$;

comment on function pgledger._try_facts(pgledger.payment_events, jsonb) is
  'Applies the facts of an event in a subtransaction: the event as PROCESSED with what they did, '
  'or as FAILED with the error. Private.';

revoke all on function pgledger._try_facts(pgledger.payment_events, jsonb) from public;
