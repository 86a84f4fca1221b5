create or replace function pgledger._conflict(
  request pgledger._request, hot pgledger.balances,
  posted pgledger.transactions, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_lot pgledger.lots;
begin
  select l.* into v_lot
  from pgledger.lots l
  where l.account_id = posted.account_id and l.seq = posted.seq;
  return pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
    'recorded', jsonb_build_object(
      'key', coalesce(posted.key, pending.key, '#' || posted.seq),
      'type', coalesce(posted.type, pending.type),
      'amount', coalesce(
        posted.requested_amount, posted.amount, pending.requested_amount, pending.amount),
      'external_id', coalesce(posted.external_id, pending.external_id),
      'expires_at', coalesce(pending.expires_at, pending.credits_expire_at,
        nullif(v_lot.granted_expires_at, 'infinity')),
      'priority', coalesce(pending.priority, v_lot.priority, 0),
      'original', '#' || posted.original_seq,
      'counterparty', posted.counterparty,
      'usage', pgledger._usage_told(
        case when pending.key is null then posted.usage else pending.usage end),
      'status', coalesce(
        case when posted.seq is not null then 'POSTED' end, pending.status::text)),
    'given', jsonb_build_object(
      'key', request.key,
      'type', request.type,
      'amount', request.amount,
      'external_id', request.external_id,
      'expires_at', coalesce(request.expires_at, request.credits_expire_at),
      'priority', coalesce(request.priority, 0),
      'original', '#' || request.original_seq,
      'counterparty', request.counterparty,
      'usage', pgledger._usage_told(request.usage),
      'announced', request.announced)));
end;
$$;

comment on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions) is
  'Refuses with LG002 and shows what is recorded beside what was given. Private.';

revoke all on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions)
  from public;
