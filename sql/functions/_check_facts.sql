create or replace function pgledger._check_facts(facts jsonb) returns void
language plpgsql
as $$
declare
  v_where text;
  v_given jsonb;
  v_rule text;
  v_text text := '^"';
  v_whole text := '^-?[0-9]+$';
  v_instant text := '^"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9.]+)?'
    '(Z|[+-][0-9]{2}(:?[0-9]{2})?)"$';
begin
  select 'facts[' || f.place || ']', f.fact, 'An object, whose record is payment, refund, '
    'dispute, card_check or cancellation.'
  into v_where, v_given, v_rule
  from jsonb_array_elements(facts) with ordinality f (fact, place)
  where case jsonb_typeof(f.fact) when 'object' then
    coalesce(f.fact ->> 'record', '') not in (
      'payment', 'refund', 'dispute', 'card_check', 'cancellation')
    else true end
  order by f.place
  limit 1;

  if not found then
    -- What no record has is not named: it is the provider's, and may be anything.
    select 'facts[' || f.place || ']' || coalesce('.' || e.name, ''), p.given,
      coalesce('As the function that records it takes it; as JSON: ' || e.pattern,
        'There is no such parameter of this record.')
    into v_where, v_given, v_rule
    from jsonb_array_elements(facts) with ordinality f (fact, place)
    cross join jsonb_each(f.fact) p (name, given)
    left join (values
      ('payment', '^"(PROCESSING|FAILED|SUCCEEDED)"$', ' payment_id status account_id key amount '
        'paid currency refunded customer reason occurred_at attempt '),
      ('refund', '^"(PENDING|SUCCEEDED|FAILED)"$', ' refund_id payment_id amount status '
        'request_key account_id occurred_at '),
      ('dispute', '^"(OPEN|LOST|WON)"$', ' dispute_id payment_id amount status policy reason '
        'occurred_at '),
      ('card_check', '', ' check_id account_id key amount customer payment_method '),
      ('cancellation', '', ' account_id key reason ')
    ) r (record, status, names)
      on r.record = f.fact ->> 'record'
        and strpos(p.name, ' ') = 0 and strpos(r.names, ' ' || p.name || ' ') > 0
    cross join lateral (
      select case when r.record is not null then p.name end as name, case
        when r.record is null then null
        when p.name in ('amount', 'paid', 'refunded', 'attempt') then v_whole
        when p.name = 'occurred_at' then v_instant
        when p.name = 'status' then r.status
        when p.name = 'policy' then '^"(FLAG|FREEZE|DEDUCT)"$'
        else v_text end as pattern
      offset 0
    ) e
    where p.name <> 'record' and (e.name is null or (p.given <> 'null' and case
      when p.given::text !~ e.pattern then true
      when e.pattern = v_whole then
        p.given::numeric not between -9223372036854775808 and 9223372036854775807
      else false end))
    order by f.place, p.name
    limit 1;
  end if;
  if v_where is not null then
    perform pgledger._reject(v_where, v_given::text, v_rule);
  end if;
end;
$$;

comment on function pgledger._check_facts(jsonb) is
  'Refuses (22023) an array of what are no facts: another record, a parameter that it does not '
  'have, a value of another kind. Private.';

revoke all on function pgledger._check_facts(jsonb) from public;
