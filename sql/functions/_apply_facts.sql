create or replace function pgledger._apply_facts(event pgledger.payment_events, facts jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_fact jsonb;
  v_payment_id text;
  v_results jsonb := '[]'::jsonb;
begin
  perform pgledger._check_facts(_apply_facts.facts);

  -- All payments before any balance, and in one order, whoever else tells of several.
  if jsonb_array_length(_apply_facts.facts) > 1 then
    for v_payment_id in
      select distinct f.fact ->> 'payment_id' collate "C" as payment_id
      from jsonb_array_elements(_apply_facts.facts) f (fact)
      where f.fact ->> 'payment_id' is not null
      order by payment_id
    loop
      perform pgledger._lock_payment(
        event.provider, pgledger._checked_provider_id('payment_id', v_payment_id));
    end loop;
  end if;

  for v_fact in
    select f.fact
    from jsonb_array_elements(_apply_facts.facts) with ordinality f (fact, place)
    order by f.place
  loop
    v_results := v_results || jsonb_build_array(jsonb_strip_nulls(
      jsonb_build_object('record', v_fact -> 'record')
      || case v_fact ->> 'record'
        when 'payment' then pgledger._apply_payment(event, v_fact)
        when 'refund' then pgledger._apply_refund(event, v_fact)
        when 'dispute' then pgledger._apply_dispute(event, v_fact)
        when 'card_check' then pgledger._apply_card_check(event, v_fact)
        when 'cancellation' then pgledger._apply_cancellation(v_fact)
      end));
  end loop;
  return v_results;
end;
$$;

comment on function pgledger._apply_facts(pgledger.payment_events, jsonb) is
  'Applies what an event tells, in its order, and answers what each fact did. Private.';

revoke all on function pgledger._apply_facts(pgledger.payment_events, jsonb) from public;
