create or replace function pgledger._store_status(
  account_id text, status pgledger.account_status
) returns pgledger.accounts
language plpgsql
as $$
#variable_conflict use_column
declare
  v_account pgledger.accounts;
  v_before pgledger.account_status;
  v_attention_at timestamptz;
begin
  select a.status into strict v_before
  from pgledger.accounts a
  where a.account_id = _store_status.account_id;
  update pgledger.accounts a
  set status = _store_status.status
  where a.account_id = _store_status.account_id
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
  return v_account;
end;
$$;

comment on function pgledger._store_status(text, pgledger.account_status) is
  'Stores the status of an account where the fast path sees it, ends the plan of one that is '
  'closed, and tells when one is frozen. Only under the lock of its balance row, after what was '
  'due is posted. Private.';

revoke all on function pgledger._store_status(text, pgledger.account_status) from public;
