create or replace function pgledger._wrong_units(units jsonb, quoted boolean) returns text
language sql immutable parallel safe
begin atomic
  select case
    when jsonb_typeof(_wrong_units.units) <> 'object' then _wrong_units.units::text
    when (select count(*) from jsonb_object_keys(_wrong_units.units)) > 100 then
      (select count(*) from jsonb_object_keys(_wrong_units.units)) || ' units'
    else (
      select e.key || ': ' || e.value
      from jsonb_each(_wrong_units.units) e
      where not pgledger._is_label(e.key)
        or pgledger._number(e.value, _wrong_units.quoted) is null
      order by e.key
      limit 1
    )
  end;
end;

comment on function pgledger._wrong_units(jsonb, boolean) is
  'What is wrong with prices or quantities: the first of their units that is, or all of it; null '
  'when nothing is. Private.';

revoke all on function pgledger._wrong_units(jsonb, boolean) from public;
