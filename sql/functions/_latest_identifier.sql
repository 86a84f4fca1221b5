create or replace function pgledger._latest_identifier(
  account_id text, kind pgledger.identifier_kind
) returns text
language sql stable
begin atomic
  select i.value
  from pgledger.account_identifiers i
  where i.account_id = _latest_identifier.account_id and i.kind = _latest_identifier.kind
  order by i.linked_at desc, i.value collate "C"
  limit 1;
end;

comment on function pgledger._latest_identifier(text, pgledger.identifier_kind) is
  'The identifier of a kind that was linked to an account last; else null. Private.';

revoke all on function pgledger._latest_identifier(text, pgledger.identifier_kind) from public;
