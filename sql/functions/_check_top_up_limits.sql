create or replace function pgledger._check_top_up_limits(limits pgledger.top_up_limits)
returns void
language plpgsql
as $$
declare
  v_multiple bigint := coalesce(limits.multiple_of, 1);
  v_minimum bigint := coalesce(limits.minimum, 1);
  v_least numeric;
  v_limit record;
begin
  -- Only once what it is made of is known to be positive. mod(), because a quotient is rounded.
  if v_multiple > 0 and v_minimum > 0 then
    v_least := v_minimum::numeric + mod(v_multiple - mod(v_minimum, v_multiple), v_multiple);
  end if;
  for v_limit in
    select l.name, l.value, l.lowest
    from (values
      ('minimum', limits.minimum, 1::numeric),
      ('multiple_of', limits.multiple_of, 1::numeric),
      ('maximum', limits.maximum, v_least),
      ('daily_count_limit', limits.daily_count_limit, 1::numeric),
      ('daily_amount_limit', limits.daily_amount_limit, v_least)
    ) l (name, value, lowest)
    where l.value < l.lowest
  loop
    perform pgledger._reject(v_limit.name, v_limit.value::text,
      'A limit leaves room for one top-up, here at least ' || v_limit.lowest || '.');
  end loop;
  if v_least > 9223372036854775807 then
    perform pgledger._reject('minimum', limits.minimum::text,
      'No amount of at least this is such a multiple.');
  end if;
end;
$$;

comment on function pgledger._check_top_up_limits(pgledger.top_up_limits) is
  'Refuses (22023) limits within which there is no top-up. Private.';

revoke all on function pgledger._check_top_up_limits(pgledger.top_up_limits) from public;
