create or replace function pgledger._balance_now(account_id text) returns pgledger.balances
language plpgsql stable
as $$
begin
  return pgledger._without_due(
    pgledger._balance_row(_balance_now.account_id), statement_timestamp());
end;
$$;

comment on function pgledger._balance_now(text) is
  'The balance row as of the start of the statement, what is due counted; without a lock. '
  'Private.';

revoke all on function pgledger._balance_now(text) from public;
