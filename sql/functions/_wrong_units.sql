create or replace function pgledger._wrong_units(units jsonb, quoted boolean) returns text
language plpgsql immutable parallel safe
as $$
declare
  v_count bigint;
  v_wrong text;
begin
  if jsonb_typeof(_wrong_units.units) <> 'object' then
    return _wrong_units.units::text;
  end if;
  select count(*), min(e.key || ': ' || e.value) filter (
      where not pgledger._is_label(e.key)
        or pgledger._number(e.value, _wrong_units.quoted) is null)
  into v_count, v_wrong
  from jsonb_each(_wrong_units.units) e;
  return case when v_count > 100 then v_count || ' units' else v_wrong end;
end;
$$;

comment on function pgledger._wrong_units(jsonb, boolean) is
  'What is wrong with prices or quantities: one of their units, or all of it; null when nothing '
  'is. Private.';

revoke all on function pgledger._wrong_units(jsonb, boolean) from public;
