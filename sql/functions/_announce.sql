create or replace function pgledger._announce(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_pending pgledger.pending_transactions;
  v_reserved bigint := greatest(-_announce.applied, 0);
  v_answer pgledger.posting;
begin
  perform pgledger._open_if_new(request.account_id);

  insert into pgledger.pending_transactions as p (
    account_id, key, amount, requested_amount, created_at, type, reference, external_id, metadata,
    expires_at, credits_expire_at, priority, usage)
  values (
    request.account_id, coalesce(request.key, '#' || gen_random_uuid()), _announce.applied,
    nullif(request.amount, _announce.applied), hot.updated_at, request.type,
    request.reference, request.external_id, request.metadata, request.expires_at,
    request.credits_expire_at, nullif(request.priority, 0), request.usage)
  returning p.* into v_pending;

  if v_reserved > 0 and hot.pool is not null then
    v_hot := pgledger._reserve(hot, v_pending.key, v_reserved);
  end if;
  v_hot.held := hot.held + v_reserved;
  v_hot.attention_at := least(hot.attention_at, request.expires_at);
  update pgledger.balances b
  set pending_rows = b.pending_rows + 1
  where b.account_id = request.account_id;
  perform pgledger._write_balance(v_hot, v_reserved);

  v_answer := pgledger._as_posting(null, v_pending, v_hot, false);
  if v_reserved > 0
    and pgledger._is_low(
      v_answer.available, _announce.applied, v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, _announce.applied, request.reference);
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._announce(pgledger._request, pgledger.balances, bigint) is
  'Records what was judged as a pending transaction, under the lock; a debit reserves what it '
  'announces. Private.';

revoke all on function pgledger._announce(pgledger._request, pgledger.balances, bigint) from public;
