create or replace function pgledger._lock_account(account_id text) returns pgledger.accounts
language plpgsql
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_account pgledger.accounts;
begin
  v_request.account_id := pgledger._checked_account(_lock_account.account_id);
  v_hot := pgledger._lock_balance(_lock_account.account_id);

  select a.* into v_account
  from pgledger.accounts a
  where a.account_id = _lock_account.account_id;

  -- History without an account row was written by another system: the account exists.
  if not found and v_hot.seq = 0 then
    perform pgledger._refuse(v_request, v_hot, 'LG003', '{}');
  elsif not found then
    perform pgledger._open_if_new(_lock_account.account_id);
    select a.* into strict v_account
    from pgledger.accounts a
    where a.account_id = _lock_account.account_id;
  end if;

  perform pgledger._settle_due(v_hot);
  return v_account;
end;
$$;

comment on function pgledger._lock_account(text) is
  'Locks the balance row of an account that must exist (LG003), posts what is due on it, and '
  'returns its settings. Private.';

revoke all on function pgledger._lock_account(text) from public;
