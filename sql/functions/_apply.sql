create or replace function pgledger._apply(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_posted pgledger.transactions;
begin
  perform pgledger._open_if_new(request.account_id);

  v_hot.balance := hot.balance + _apply.applied;
  v_hot.seq := hot.seq + 1;
  v_hot.updated_at := greatest(hot.updated_at, clock_timestamp());

  update pgledger.balances b
  set balance = v_hot.balance, seq = v_hot.seq, updated_at = v_hot.updated_at
  where b.account_id = request.account_id;

  insert into pgledger.transactions as t (
    account_id, seq, amount, running_balance, requested_amount, created_at, type, key, reference,
    external_id, metadata)
  values (
    request.account_id, v_hot.seq, _apply.applied, v_hot.balance,
    nullif(request.amount, _apply.applied), v_hot.updated_at, request.type, request.key,
    request.reference, request.external_id, request.metadata)
  returning t.* into v_posted;

  return pgledger._as_posting(v_posted, null, v_hot, false);
end;
$$;

comment on function pgledger._apply(pgledger._request, pgledger.balances, bigint) is
  'Posts what was judged, under the lock. Private.';

revoke all on function pgledger._apply(pgledger._request, pgledger.balances, bigint) from public;
