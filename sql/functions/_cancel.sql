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
  v_sources pgledger._sources;
begin
  update pgledger.pending_transactions p
  set status = 'CANCELLED', settled_at = hot.updated_at, reason = _cancel.reason
  where p.account_id = pending.account_id and p.key = pending.key
  returning p.* into strict v_pending;

  v_hot.held := hot.held - v_reserved;
  if v_reserved > 0 and hot.pool is not null then
    v_hot := pgledger._put_head_back(v_hot);
    v_sources := pgledger._unreserve(hot, pending.key, 0);
    v_hot.held_in_lots := hot.held_in_lots - v_sources.unreserved;
    v_hot.attention_at := least(hot.attention_at, v_sources.attention_at);
    v_hot := pgledger._expire_ended(v_hot);
  end if;
  -- Nothing changes without its balance row, so that an older snapshot meets a conflict (40001).
  perform pgledger._write_balance(v_hot, -v_reserved);

  perform pgledger._rearm(pending.account_id, pending.key);
  return pgledger._as_posting(null, v_pending, v_hot, false);
end;
$$;

comment on function pgledger._cancel(pgledger.pending_transactions, pgledger.balances, text) is
  'Drops an open pending transaction, under the lock, and gives back what it reserves. Private.';

revoke all on function
  pgledger._cancel(pgledger.pending_transactions, pgledger.balances, text) from public;
