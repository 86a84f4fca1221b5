create or replace function pgledger._is_known(account_id text) returns boolean
language plpgsql stable
as $$
begin
  -- History without an account row was written by another system: the account exists.
  return exists (
    select from pgledger.accounts a where a.account_id = _is_known.account_id
  ) or exists (
    select from pgledger.transactions t where t.account_id = _is_known.account_id);
end;
$$;

comment on function pgledger._is_known(text) is
  'Whether there is an account of this id. Private.';

revoke all on function pgledger._is_known(text) from public;
