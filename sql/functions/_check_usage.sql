create or replace function pgledger._check_usage(code text, quantities jsonb) returns void
language plpgsql immutable parallel safe
as $$
declare
  v_wrong text := pgledger._wrong_units(_check_usage.quantities, false);
begin
  if not coalesce(pgledger._is_label(_check_usage.code), false) then
    perform pgledger._reject('code', _check_usage.code,
      'A code has 1 to 255 characters, none of them a control character.');
  end if;
  v_wrong := case when _check_usage.quantities = '{}' then '{}' else v_wrong end;
  if _check_usage.quantities is null or v_wrong is not null then
    perform pgledger._reject('quantities', v_wrong,
      'An object of 1 to 100 units with how many of each were used: a number, 0 or more, '
      'fractions allowed, such as {"input_token": 1200}.');
  end if;
end;
$$;

comment on function pgledger._check_usage(text, jsonb) is
  'Refuses (22023, 22004) what cannot have been used. Private.';

revoke all on function pgledger._check_usage(text, jsonb) from public;
