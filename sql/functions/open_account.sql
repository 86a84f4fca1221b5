create or replace function pgledger.open_account(
  account_id text,
  currency text default 'CREDIT',
  min_balance bigint default 0,
  metadata jsonb default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_account pgledger.accounts;
begin
  v_request.account_id := pgledger._checked_account(open_account.account_id);
  perform pgledger._check_labels(null, null, null, open_account.metadata);
  if not exists (
    select from pgledger.currencies c where c.code = open_account.currency collate "default")
  then
    perform pgledger._reject('currency', open_account.currency,
      'Use a code of pgledger.currencies, or add one there first.');
  end if;
  if not coalesce(open_account.min_balance <= 0, false) then
    perform pgledger._reject('min_balance', open_account.min_balance::text,
      'A floor is 0 or negative, in minor units.');
  end if;

  v_hot := pgledger._lock_balance(v_request.account_id);
  insert into pgledger.accounts as a (account_id, currency, min_balance, debt_floor, metadata)
  values (
    v_request.account_id, open_account.currency, open_account.min_balance,
    open_account.min_balance, coalesce(open_account.metadata, '{}'))
  on conflict (account_id) do nothing
  returning a.* into v_account;

  if found then
    update pgledger.balances b
    set floor = v_account.min_balance
    where b.account_id = v_request.account_id;
    return v_account;
  end if;

  select a.* into strict v_account
  from pgledger.accounts a
  where a.account_id = v_request.account_id;

  if v_account.currency <> open_account.currency collate "default" then
    perform pgledger._refuse(v_request, v_hot, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object('currency', v_account.currency),
      'given', jsonb_build_object('currency', open_account.currency)));
  end if;
  return v_account;
end;
$$;

comment on function pgledger.open_account(text, text, bigint, jsonb) is
  'Opens an account and answers with its settings. min_balance <= 0 is its floor in minor units, '
  'and its debt_floor too until set_limits says otherwise. A repeat changes nothing and answers '
  'with the settings as they are now; LG002 when it names another currency. Not required: a first '
  'credit opens an account in CREDIT. Refuses with LG002, 22023 and 22004.';

revoke all on function pgledger.open_account(text, text, bigint, jsonb) from public;
