create or replace function pgledger._conflict(
  request pgledger._request, hot pgledger.balances,
  posted pgledger.transactions, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
begin
  return pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
    'recorded', jsonb_build_object(
      'key', coalesce(posted.key, pending.key, '#' || posted.seq),
      'type', coalesce(posted.type, pending.type),
      'amount', coalesce(
        posted.requested_amount, posted.amount, pending.requested_amount, pending.amount),
      'external_id', coalesce(posted.external_id, pending.external_id),
      'expires_at', pending.expires_at,
      'original', '#' || posted.original_seq,
      'counterparty', posted.counterparty,
      'status', coalesce(
        case when posted.seq is not null then 'POSTED' end, pending.status::text)),
    'given', jsonb_build_object(
      'key', request.key,
      'type', request.type,
      'amount', request.amount,
      'external_id', request.external_id,
      'expires_at', request.expires_at,
      'original', '#' || request.original_seq,
      'counterparty', request.counterparty,
      'announced', request.announced)));
end;
$$;

comment on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions) is
  'Refuses with LG002 and shows what is recorded beside what was given. Private.';

revoke all on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions)
  from public;
