create or replace function pgledger._announce(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_pending pgledger.pending_transactions;
begin
  perform pgledger._open_if_new(request.account_id);

  insert into pgledger.pending_transactions as p (
    account_id, key, amount, requested_amount, created_at, type, reference, external_id, metadata)
  values (
    request.account_id, coalesce(request.key, '#' || gen_random_uuid()), _announce.applied,
    nullif(request.amount, _announce.applied), clock_timestamp(), request.type,
    request.reference, request.external_id, request.metadata)
  returning p.* into v_pending;

  update pgledger.balances b
  set pending_rows = b.pending_rows + 1
  where b.account_id = request.account_id;

  return pgledger._as_posting(null, v_pending, hot, false);
end;
$$;

comment on function pgledger._announce(pgledger._request, pgledger.balances, bigint) is
  'Records what was judged as a pending transaction, under the lock. Private.';

revoke all on function pgledger._announce(pgledger._request, pgledger.balances, bigint) from public;
