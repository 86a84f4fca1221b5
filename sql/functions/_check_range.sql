create or replace function pgledger._check_range(hot pgledger.balances, amount bigint)
returns void
language plpgsql
as $$
begin
  -- Available must be a bigint too, so the lowest balance leaves room for what is held.
  if hot.balance::numeric + _check_range.amount
    not between -9223372036854775808 + hot.held::numeric and 9223372036854775807
  then
    raise exception using
      errcode = '22003',
      message = 'balance out of range',
      detail = jsonb_build_object(
        'account_id', hot.account_id,
        'balance', hot.balance,
        'amount', _check_range.amount)::text,
      hint = 'A balance is a bigint, within plus or minus 2^63 - 1 minor units.';
  end if;
end;
$$;

comment on function pgledger._check_range(pgledger.balances, bigint) is
  'Refuses (22003) a movement that would take the balance out of the range of bigint. Private.';

revoke all on function pgledger._check_range(pgledger.balances, bigint) from public;
