create or replace function pgledger._open_if_new(account_id text) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  if not exists (
    select from pgledger.accounts a where a.account_id = _open_if_new.account_id
  ) then
    insert into pgledger.accounts (account_id) values (_open_if_new.account_id)
    on conflict (account_id) do nothing;
  end if;
end;
$$;

comment on function pgledger._open_if_new(text) is
  'Opens, with default settings, the account of a movement about to be recorded. Only under the '
  'lock of the balance row. Private.';

revoke all on function pgledger._open_if_new(text) from public;
