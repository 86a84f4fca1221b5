create or replace function pgledger._as_posting(
  posted pgledger.transactions, pending pgledger.pending_transactions, hot pgledger.balances,
  replayed boolean
) returns pgledger.posting
language plpgsql stable
as $$
begin
  if posted.seq is not null then
    return row(
      posted.account_id, coalesce(posted.key, '#' || posted.seq), posted.seq, posted.type,
      posted.amount, coalesce(posted.requested_amount, posted.amount), posted.running_balance,
      hot.balance, hot.balance - hot.held, 'POSTED', _as_posting.replayed, null, posted.created_at,
      null
    )::pgledger.posting;
  end if;

  return row(
    pending.account_id, pending.key, null, pending.type,
    pending.amount, coalesce(pending.requested_amount, pending.amount), null,
    hot.balance, hot.balance - hot.held, pending.status, _as_posting.replayed, null,
    pending.created_at, null
  )::pgledger.posting;
end;
$$;

comment on function pgledger._as_posting(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances, boolean) is
  'A recorded movement as the answer of a call: the posted one, else the pending one. Private.';

revoke all on function pgledger._as_posting(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances, boolean) from public;
