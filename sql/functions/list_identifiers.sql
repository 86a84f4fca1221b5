create or replace function pgledger.list_identifiers(account_id text)
returns setof pgledger.account_identifiers
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select i.*
  from pgledger.account_identifiers i
  where i.account_id = pgledger._checked_account(list_identifiers.account_id)
  order by i.kind, i.linked_at, i.value collate "C";
end;

comment on function pgledger.list_identifiers(text) is
  'The identifiers that are linked to an account, by kind, oldest first. Refuses with 22023 and '
  '22004.';

revoke all on function pgledger.list_identifiers(text) from public;
