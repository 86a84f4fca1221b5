create or replace function pgledger.unlink_identifier(
  identifier text,
  kind pgledger.identifier_kind default null,
  actor text default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_link pgledger.account_identifiers;
  v_known pgledger.account_identifiers := pgledger._checked_identifier(
    unlink_identifier.identifier collate "default", unlink_identifier.kind);
begin
  select i.* into v_link
  from pgledger.account_identifiers i
  where i.kind = v_known.kind and i.value = v_known.value
  for update;

  if not found then
    return false;
  end if;

  delete from pgledger.account_identifiers i
  where i.account_id = v_link.account_id and i.kind = v_link.kind and i.value = v_link.value;
  perform pgledger._audit_identifier(v_link.account_id, 'unlink_identifier',
    unlink_identifier.actor collate "default", v_link, '{}');
  return true;
end;
$$;

comment on function pgledger.unlink_identifier(text, pgledger.identifier_kind, text) is
  'Takes an identifier (see resolve_account) away from its account; answers whether it was linked. '
  'In the audit log of that account, an email as its SHA-256. Refuses with 22023 and 22004.';

revoke all on function
  pgledger.unlink_identifier(text, pgledger.identifier_kind, text) from public;
