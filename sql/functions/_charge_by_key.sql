create or replace function pgledger._charge_by_key(
  hot pgledger.balances, key text, attempt bigint
) returns pgledger.charges
language plpgsql
as $$
declare
  v_request pgledger._request;
  v_charge pgledger.charges;
begin
  select c.* into v_charge
  from pgledger.charges c
  where c.account_id = hot.account_id and c.key = _charge_by_key.key;

  if not found then
    v_request.account_id := hot.account_id;
    v_request.key := _charge_by_key.key;
    perform pgledger._refuse(v_request, hot, 'LG006', '{}');
  end if;
  if not coalesce(_charge_by_key.attempt between 0 and v_charge.declines, false) then
    perform pgledger._reject('attempt', _charge_by_key.attempt::text,
      'The attempt that the claim told: how often it was declined before, now '
      || v_charge.declines || '.');
  end if;
  return v_charge;
end;
$$;

comment on function pgledger._charge_by_key(pgledger.balances, text, bigint) is
  'The charge of an auto-top-up by its key (LG006), where attempt is one that was made or is to be '
  'made (22023, 22004). Only under the lock of the balance row. Private.';

revoke all on function pgledger._charge_by_key(pgledger.balances, text, bigint) from public;
