create or replace function pgledger._check_range(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns void
language plpgsql
as $$
declare
  v_is_hold boolean := request.announced and _check_range.applied < 0;
  v_balance numeric := hot.balance::numeric;
  v_held numeric := hot.held::numeric;
begin
  if v_is_hold then
    v_held := v_held - _check_range.applied;
  else
    v_balance := v_balance + _check_range.applied;
    v_held := v_held - coalesce(request.released, 0);
  end if;

  -- Available must be a bigint too, so the lowest balance leaves room for what is held.
  if v_held > 9223372036854775807
    or v_balance not between -9223372036854775808 + v_held and 9223372036854775807
  then
    raise exception using
      errcode = '22003',
      message = 'balance out of range',
      detail = jsonb_build_object(
        'account_id', hot.account_id,
        'balance', hot.balance,
        'held', hot.held,
        'amount', _check_range.applied)::text,
      hint = 'A balance is a bigint, within plus or minus 2^63 - 1 minor units.';
  end if;
end;
$$;

comment on function pgledger._check_range(pgledger._request, pgledger.balances, bigint) is
  'Refuses (22003) a movement that would take the balance, or what holds reserve of it, out of '
  'the range of bigint. Private.';

revoke all on function
  pgledger._check_range(pgledger._request, pgledger.balances, bigint) from public;
