create or replace function pgledger._cancel_by_key(
  request pgledger._request, reason text, is_hold boolean
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_reserved bigint;
  v_now timestamptz;
begin
  if length(_cancel_by_key.reason) not between 1 and 1000 then
    perform pgledger._reject('reason', _cancel_by_key.reason, 'A reason has 1 to 1000 characters.');
  end if;

  -- What is due first, or a hold that expires just now would be closed and then released again.
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  v_pending := pgledger._pending_by_key(request.account_id, request.key, _cancel_by_key.is_hold);
  if v_pending.status = 'CANCELLED' then
    return pgledger._as_posting(null, v_pending, v_hot, true);
  elsif v_pending.status is distinct from 'PENDING' then
    return pgledger._refuse_settled(request, v_hot);
  end if;

  v_now := clock_timestamp();
  update pgledger.pending_transactions p
  set status = 'CANCELLED', settled_at = v_now, reason = _cancel_by_key.reason
  where p.account_id = request.account_id and p.key = request.key
  returning p.* into strict v_pending;

  -- Nothing changes without its balance row, so that an older snapshot meets a conflict (40001).
  v_reserved := greatest(-v_pending.amount, 0);
  v_hot.held := v_hot.held - v_reserved;
  update pgledger.balances b
  set held = b.held - v_reserved, updated_at = greatest(b.updated_at, v_now)
  where b.account_id = request.account_id;

  perform pgledger._rearm(request.account_id, request.key);
  return pgledger._as_posting(null, v_pending, v_hot, false);
end;
$$;

comment on function pgledger._cancel_by_key(pgledger._request, text, boolean) is
  'Cancels the pending transaction of a key, or the hold where only a hold will do, and gives '
  'back what it reserves. Private.';

revoke all on function pgledger._cancel_by_key(pgledger._request, text, boolean) from public;
