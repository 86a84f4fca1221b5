create or replace function pgledger.set_limits(
  account_id text,
  min_balance bigint default null,
  debt_floor bigint default null,
  actor text default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
  v_min_balance bigint;
  v_debt_floor bigint;
begin
  if set_limits.min_balance is null and set_limits.debt_floor is null then
    perform pgledger._reject('min_balance', null, 'Give min_balance, debt_floor or both.');
  end if;

  v_account := pgledger._lock_account(set_limits.account_id collate "default");

  v_min_balance := coalesce(set_limits.min_balance, v_account.min_balance);
  v_debt_floor := coalesce(set_limits.debt_floor, v_min_balance);
  if v_min_balance > 0 then
    perform pgledger._reject('min_balance', v_min_balance::text,
      'A floor is 0 or negative, in minor units.');
  end if;
  if v_debt_floor > v_min_balance then
    perform pgledger._reject('debt_floor', v_debt_floor::text,
      'debt_floor is at most min_balance, which is ' || v_min_balance || '.');
  end if;

  update pgledger.accounts a
  set min_balance = v_min_balance, debt_floor = v_debt_floor
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  update pgledger.balances b
  set floor = v_account.min_balance
  where b.account_id = v_account.account_id;

  perform pgledger._audit(
    v_account.account_id, 'set_limits', set_limits.actor collate "default",
    jsonb_build_object(
      'min_balance', set_limits.min_balance, 'debt_floor', set_limits.debt_floor));
  return v_account;
end;
$$;

comment on function pgledger.set_limits(text, bigint, bigint, text) is
  'Sets the floors of an account, minor units, and answers with its settings. min_balance <= 0 '
  'floors spends, and stays as it is when not given; debt_floor <= min_balance floors spends with '
  'shortfall DEBT, and equals min_balance when not given. Moves no credits. A repeat changes '
  'nothing. Kept in the audit log, as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_limits(text, bigint, bigint, text) from public;
