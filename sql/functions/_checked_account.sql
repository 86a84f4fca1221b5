create or replace function pgledger._checked_account(account_id text) returns text
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(pgledger._is_label(_checked_account.account_id), false) then
    perform pgledger._reject('account_id', _checked_account.account_id,
      'An account id has 1 to 255 characters, none of them a control character.');
  end if;
  return _checked_account.account_id;
end;
$$;

comment on function pgledger._checked_account(text) is
  'The account id, or 22023 (22004 for null) when it cannot be one. Private.';

revoke all on function pgledger._checked_account(text) from public;
