create or replace function pgledger._cancel_by_key(
  request pgledger._request, reason text, is_hold boolean
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
begin
  perform pgledger._check_reason(_cancel_by_key.reason);

  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  v_pending := pgledger._pending_by_key(v_hot, request.key, _cancel_by_key.is_hold);
  if v_pending.status = 'CANCELLED' then
    perform pgledger._forget_unopened(request.account_id);
    return pgledger._as_posting(null, v_pending, v_hot, true);
  elsif v_pending.status is distinct from 'PENDING' then
    return pgledger._refuse_settled(request, v_hot);
  end if;

  return pgledger._cancel(v_pending, v_hot, _cancel_by_key.reason);
end;
$$;

comment on function pgledger._cancel_by_key(pgledger._request, text, boolean) is
  'Cancels the pending transaction of a key, or the hold where only a hold will do, and gives '
  'back what it reserves. Private.';

revoke all on function pgledger._cancel_by_key(pgledger._request, text, boolean) from public;
