create or replace function pgledger._check_usage(code text, quantities jsonb) returns void
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(pgledger._is_label(_check_usage.code), false) then
    perform pgledger._reject('code', _check_usage.code,
      'A code has 1 to 255 characters, none of them a control character.');
  end if;
  perform pgledger._check_quantities(_check_usage.quantities);
end;
$$;

comment on function pgledger._check_usage(text, jsonb) is
  'Refuses (22023, 22004) what cannot have been used. Private.';

revoke all on function pgledger._check_usage(text, jsonb) from public;
