create or replace function pgledger.cancel_transaction(
  account_id text,
  key text,
  reason text default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_now timestamptz;
begin
  v_request := pgledger._settlement(
    cancel_transaction.account_id, cancel_transaction.key, cancel_transaction.raise_refusals);
  if length(cancel_transaction.reason) not between 1 and 1000 then
    perform pgledger._reject('reason', cancel_transaction.reason,
      'A reason has 1 to 1000 characters.');
  end if;

  v_hot := pgledger._lock_balance(v_request.account_id);
  v_now := clock_timestamp();
  update pgledger.pending_transactions p
  set status = 'CANCELLED', settled_at = v_now, reason = cancel_transaction.reason
  where p.account_id = v_request.account_id and p.key = v_request.key and p.status = 'PENDING'
  returning p.* into v_pending;

  if found then
    -- Nothing changes without its balance row, so that an older snapshot meets a conflict (40001).
    update pgledger.balances b
    set updated_at = greatest(b.updated_at, v_now)
    where b.account_id = v_request.account_id;

    return pgledger._as_posting(null, v_pending, v_hot, false);
  end if;

  select p.* into v_pending
  from pgledger.pending_transactions p
  where p.account_id = v_request.account_id and p.key = v_request.key and p.status = 'CANCELLED';

  if found then
    return pgledger._as_posting(null, v_pending, v_hot, true);
  end if;
  return pgledger._refuse_settled(v_request, v_hot);
end;
$$;

comment on function pgledger.cancel_transaction(text, text, text, boolean) is
  'Drops a pending transaction: it will not become effective, unless its money arrives after all '
  '(see enable_transaction). Its key stays taken. reason: 1 to 1000 characters, kept. A repeat '
  'changes nothing. Refuses with LG006, LG007 (already enabled), 22023 and 22004.';

revoke all on function pgledger.cancel_transaction(text, text, text, boolean) from public;
