create or replace function pgledger._check_quantities(quantities jsonb) returns void
language plpgsql immutable parallel safe
as $$
declare
  v_wrong text := pgledger._wrong_units(_check_quantities.quantities, false);
begin
  if _check_quantities.quantities = '{}' then
    v_wrong := '{}';
  end if;
  if _check_quantities.quantities is null or v_wrong is not null then
    perform pgledger._reject('quantities', v_wrong,
      'An object of 1 to 100 units with how many of each were used: a number, 0 or more, '
      'fractions allowed, such as {"input_token": 1200}.');
  end if;
end;
$$;

comment on function pgledger._check_quantities(jsonb) is
  'Refuses (22023, 22004) what cannot be how many of each unit were used. Private.';

revoke all on function pgledger._check_quantities(jsonb) from public;
