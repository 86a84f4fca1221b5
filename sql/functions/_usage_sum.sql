create or replace function pgledger._usage_sum(
  usage jsonb, out exact numeric, out adds_up boolean, out units jsonb
)
language sql immutable parallel safe
begin atomic
  select sum(n.numbers[1] * n.numbers[2]),
    coalesce(bool_and(coalesce(n.numbers[1] * n.numbers[2] = n.numbers[3], false)), false),
    jsonb_object_agg(e.key, e.value -> 'credits_per_unit')
  from jsonb_each(case jsonb_typeof(_usage_sum.usage -> 'breakdown')
    when 'object' then _usage_sum.usage -> 'breakdown' else '{}' end) e
  -- What was planted may be anything: nothing is cast that is no number.
  cross join lateral (
    select array_agg(case jsonb_typeof(e.value -> f.name)
      when 'number' then (e.value -> f.name)::numeric end order by f.place) as numbers
    from (values (1, 'quantity'), (2, 'credits_per_unit'), (3, 'credits')) f (place, name)
  ) n;
end;

comment on function pgledger._usage_sum(jsonb) is
  'What the breakdown of recorded usage adds up to, whether each of its products is one, and the '
  'prices in it. Private.';

revoke all on function pgledger._usage_sum(jsonb) from public;
