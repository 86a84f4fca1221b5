create or replace function pgledger.set_account_status(
  account_id text,
  status pgledger.account_status,
  actor text default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
begin
  if set_account_status.status is null then
    perform pgledger._reject('status', null, 'One of OPEN, FROZEN, CLOSED.');
  end if;

  v_account := pgledger._lock_account(set_account_status.account_id collate "default");

  if set_account_status.status = 'CLOSED' then
    perform pgledger._require_empty(v_account.account_id);
  end if;

  v_account := pgledger._store_status(v_account.account_id, set_account_status.status);
  perform pgledger._audit(
    v_account.account_id, 'set_account_status', set_account_status.actor collate "default",
    jsonb_build_object('status', set_account_status.status));
  return v_account;
end;
$$;

comment on function pgledger.set_account_status(text, pgledger.account_status, text) is
  'Opens, freezes or closes an account and answers with its settings. FROZEN refuses debits that '
  'ask, not credits, and not movements with fail_insufficient_credits => false. CLOSED refuses '
  'everything; 55000 unless the balance is 0, in each lot as well, and nothing is pending; it ends '
  'the account''s plan. A repeat changes nothing. Kept in the audit log, as done by actor. Refuses '
  'with LG003, 55000, 22023 and 22004.';

revoke all on function
  pgledger.set_account_status(text, pgledger.account_status, text) from public;
