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
  v_before pgledger.account_status;
  v_attention_at timestamptz;
begin
  if set_account_status.status is null then
    perform pgledger._reject('status', null, 'One of OPEN, FROZEN, CLOSED.');
  end if;

  v_account := pgledger._lock_account(set_account_status.account_id collate "default");
  v_before := v_account.status;

  if set_account_status.status = 'CLOSED' then
    perform pgledger._require_empty(v_account.account_id);
  end if;

  update pgledger.accounts a
  set status = set_account_status.status
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  if v_account.status = 'CLOSED' then
    perform pgledger._clear_plan(v_account.account_id);
  end if;
  -- Away from the fast path, so that the status is looked at.
  v_attention_at := pgledger._attention_at(v_account.account_id);
  update pgledger.balances b
  set attention_at = v_attention_at
  where b.account_id = v_account.account_id;

  if v_account.status = 'FROZEN' and v_before <> 'FROZEN' then
    perform pgledger._emit(v_account.account_id, 'account_frozen', array['{}'::jsonb]);
    v_account.events := v_account.events + 1;
  end if;

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
