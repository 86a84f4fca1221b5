create or replace function pgledger._cancel(
  pending pgledger.pending_transactions, hot pgledger.balances, reason text
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := hot;
  v_pending pgledger.pending_transactions;
  v_reserved bigint := greatest(-pending.amount, 0);
  v_now timestamptz := clock_timestamp();
begin
  update pgledger.pending_transactions p
  set status = 'CANCELLED', settled_at = v_now, reason = _cancel.reason
  where p.account_id = pending.account_id and p.key = pending.key
  returning p.* into strict v_pending;

  -- Nothing changes without its balance row, so that an older snapshot meets a conflict (40001).
  v_hot.held := hot.held - v_reserved;
  update pgledger.balances b
  set held = b.held - v_reserved, updated_at = greatest(b.updated_at, v_now)
  where b.account_id = pending.account_id;

  perform pgledger._rearm(pending.account_id, pending.key);
  return pgledger._as_posting(null, v_pending, v_hot, false);
end;
$$;

comment on function pgledger._cancel(pgledger.pending_transactions, pgledger.balances, text) is
  'Drops an open pending transaction, under the lock, and gives back what it reserves. Private.';

revoke all on function
  pgledger._cancel(pgledger.pending_transactions, pgledger.balances, text) from public;
