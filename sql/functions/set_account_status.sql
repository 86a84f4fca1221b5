create or replace function pgledger.set_account_status(
  account_id text,
  status pgledger.account_status
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
  v_balance bigint;
  v_pool bigint;
  v_pending bigint;
  v_before pgledger.account_status;
  v_attention_at timestamptz;
  v_now timestamptz;
begin
  if set_account_status.status is null then
    perform pgledger._reject('status', null, 'One of OPEN, FROZEN, CLOSED.');
  end if;

  v_account := pgledger._lock_account(set_account_status.account_id collate "default");
  v_before := v_account.status;

  if set_account_status.status = 'CLOSED' then
    v_now := clock_timestamp();
    select b.balance, b.pool, count(p.key) into strict v_balance, v_pool, v_pending
    from pgledger.balances b
    left join pgledger.pending_transactions p
      on p.account_id = b.account_id
      and pgledger._pending_status(p.status, p.expires_at, v_now) = 'PENDING'
    where b.account_id = v_account.account_id
    group by b.balance, b.pool;

    -- Credits in a lot would expire, and leave a closed account with the debt that they cover.
    if v_balance <> 0 or v_pool <> 0 or v_pending > 0 then
      raise exception using
        errcode = '55000',
        message = 'account not empty',
        detail = jsonb_build_object(
          'account_id', v_account.account_id,
          'balance', v_balance,
          'in_lots', coalesce(v_balance - v_pool, 0),
          'pending', v_pending)::text,
        hint = 'Bring the balance and each lot to 0, settle what is pending, then close it.';
    end if;
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

  return v_account;
end;
$$;

comment on function pgledger.set_account_status(text, pgledger.account_status) is
  'Opens, freezes or closes an account and answers with its settings. FROZEN refuses debits '
  'that ask, not credits, and not movements with fail_insufficient_credits => false. CLOSED '
  'refuses everything; 55000 unless the balance is 0, in each lot as well, and nothing is '
  'pending; it ends the account''s plan. A repeat changes nothing. Refuses with LG003, 55000, '
  '22023 and 22004.';

revoke all on function
  pgledger.set_account_status(text, pgledger.account_status) from public;
