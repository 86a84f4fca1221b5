create or replace function pgledger._as_replay(
  posted pgledger.transactions, pending pgledger.pending_transactions, hot pgledger.balances
) returns pgledger.posting
language plpgsql stable
as $$
begin
  return pgledger._as_posting(
    posted, pending, pgledger._without_due(hot, hot.updated_at), true);
end;
$$;

comment on function pgledger._as_replay(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances) is
  'The original of a repeated call as its answer, with the balance as it is now, what is due '
  'counted. Private.';

revoke all on function pgledger._as_replay(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances) from public;
