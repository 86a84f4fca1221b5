create or replace function pgledger.set_low_balance_level(
  account_id text,
  level bigint default null,
  actor text default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
begin
  v_account := pgledger._lock_account(set_low_balance_level.account_id collate "default");

  update pgledger.accounts a
  set low_balance_level = set_low_balance_level.level
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  update pgledger.balances b
  set low_below = v_account.low_balance_level
  where b.account_id = v_account.account_id;

  perform pgledger._audit(
    v_account.account_id, 'set_low_balance_level', set_low_balance_level.actor collate "default",
    jsonb_build_object('level', set_low_balance_level.level));
  return v_account;
end;
$$;

comment on function pgledger.set_low_balance_level(text, bigint, text) is
  'Sets the level, minor units, below which available counts as low, and answers with the '
  'account''s settings: a debit or hold that crosses it records the event low_balance. Null, the '
  'default, is none. Setting it records no event. A repeat changes nothing. Kept in the audit log, '
  'as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_low_balance_level(text, bigint, text) from public;
