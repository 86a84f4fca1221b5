create or replace function pgledger._forget_unopened(account_id text) returns void
language plpgsql
as $$
begin
  delete from pgledger.balances b
  where b.account_id = _forget_unopened.account_id
    and not exists (
      select from pgledger.accounts a where a.account_id = _forget_unopened.account_id);
end;
$$;

comment on function pgledger._forget_unopened(text) is
  'Takes away the balance row that was made only to be locked, where nothing opened the account: '
  'an answer that changes nothing leaves no trace. Private.';

revoke all on function pgledger._forget_unopened(text) from public;
