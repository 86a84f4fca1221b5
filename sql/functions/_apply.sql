create or replace function pgledger._apply(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_posted pgledger.transactions;
  v_answer pgledger.posting;
  v_change bigint := _apply.applied + coalesce(request.released, 0);
begin
  perform pgledger._open_if_new(request.account_id);

  v_hot.balance := hot.balance + _apply.applied;
  v_hot.seq := hot.seq + 1;
  v_hot.held := hot.held - coalesce(request.released, 0);
  v_hot.updated_at := greatest(hot.updated_at, clock_timestamp());

  update pgledger.balances b
  set balance = v_hot.balance, seq = v_hot.seq, updated_at = v_hot.updated_at,
      held = b.held - coalesce(request.released, 0)
  where b.account_id = request.account_id;

  insert into pgledger.transactions as t (
    account_id, seq, amount, running_balance, requested_amount, created_at, type, key, reference,
    external_id, metadata, original_seq, counterparty, counterparty_seq)
  values (
    request.account_id, v_hot.seq, _apply.applied, v_hot.balance,
    nullif(request.amount, _apply.applied), v_hot.updated_at, request.type, request.key,
    request.reference, request.external_id, request.metadata, request.original_seq,
    request.counterparty, request.counterparty_seq)
  returning t.* into v_posted;

  v_answer := pgledger._as_posting(v_posted, null, v_hot, false);
  if _apply.applied < 0
    and pgledger._is_low(v_answer.available, v_change, v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, v_change, request.reference);
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._apply(pgledger._request, pgledger.balances, bigint) is
  'Posts what was judged, under the lock. Private.';

revoke all on function pgledger._apply(pgledger._request, pgledger.balances, bigint) from public;
