-- Two statements: joined, all prices would be read for what the planner takes for 100 units.
create or replace function pgledger._priced(
  code text, quantities jsonb, at timestamptz, out cost bigint, out usage jsonb
)
language plpgsql stable
as $$
#variable_conflict use_column
declare
  v_list pgledger.price_lists := pgledger._price_list_at(_priced.code, _priced.at);
  v_exact numeric;
  v_unit text;
  v_breakdown jsonb;
begin
  select sum(q.quantity * p.credits_per_unit), min(q.unit) filter (where p.unit is null),
    jsonb_object_agg(q.unit, case
      when p.unit is null then jsonb_build_object('quantity', q.quantity)
      else jsonb_build_object('quantity', q.quantity, 'credits_per_unit', p.credits_per_unit,
        'credits', trim_scale(q.quantity * p.credits_per_unit))
    end)
  into v_exact, v_unit, v_breakdown
  from (
    select e.key as unit, trim_scale(e.value::numeric) as quantity
    from jsonb_each(_priced.quantities) e
  ) q
  left join pgledger.prices p
    on p.code = v_list.code and p.valid_from = v_list.valid_from and p.unit = q.unit;

  usage := jsonb_build_object('code', _priced.code, 'breakdown', v_breakdown);
  if v_unit is not null then
    usage := usage || pgledger._no_price(_priced.code, v_list, v_unit, _priced.at);
    return;
  end if;

  v_exact := trim_scale(v_exact);
  if pgledger._rounded(v_exact, v_list.rounding) > 9223372036854775807 then
    usage := usage || jsonb_build_object('refusal', jsonb_build_object('sqlstate', '22003',
      'detail', jsonb_build_object('code', _priced.code, 'exact', v_exact)));
    return;
  end if;
  cost := pgledger._rounded(v_exact, v_list.rounding)::bigint;
  usage := usage || jsonb_build_object('valid_from', pgledger._utc(v_list.valid_from),
    'rounding', v_list.rounding, 'exact', v_exact);
end;
$$;

comment on function pgledger._priced(text, jsonb, timestamptz) is
  'What usage costs by the price list in force at an instant, and the record of it. Where it has '
  'no price (LG011), or one beyond bigint (22003), cost is null and the record says why, as '
  'refusal; nothing is raised, because a repeat of it is answered all the same. The caller has '
  'checked code and quantities. Private.';

revoke all on function pgledger._priced(text, jsonb, timestamptz) from public;
