create or replace function pgledger.link_identifier(
  account_id text,
  identifier text,
  kind pgledger.identifier_kind default null,
  move boolean default false,
  actor text default null
) returns pgledger.account_identifiers
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_link pgledger.account_identifiers := pgledger._checked_identifier(
    link_identifier.identifier collate "default", link_identifier.kind);
  v_from pgledger.account_identifiers;
  v_account pgledger.accounts;
  v_now timestamptz;
begin
  if link_identifier.move is null then
    perform pgledger._reject('move', null, 'true or false.');
  end if;
  v_account := pgledger._lock_account(link_identifier.account_id collate "default");

  -- Changes nothing of a link that is there, but locks it.
  v_now := clock_timestamp();
  insert into pgledger.account_identifiers as i (kind, value, account_id, linked_at)
  values (v_link.kind, v_link.value, v_account.account_id, v_now)
  on conflict (kind, value) do update set value = excluded.value
  returning i.* into v_link;

  if v_link.account_id <> v_account.account_id then
    v_from.account_id := v_link.account_id;
  elsif v_link.linked_at <> v_now then
    return v_link;
  elsif v_link.value <> v_account.account_id and pgledger._is_known(v_link.value) then
    v_from.account_id := v_link.value;
  end if;

  if v_from.account_id is not null and not link_identifier.move then
    perform pgledger._refuse_link(v_link, v_from.account_id, v_account.account_id);
  end if;

  update pgledger.account_identifiers i
  set account_id = v_account.account_id, linked_at = v_now
  where i.account_id = v_link.account_id and i.kind = v_link.kind and i.value = v_link.value
  returning i.* into v_link;
  perform pgledger._audit_identifier(
    v_account.account_id, 'link_identifier', link_identifier.actor collate "default", v_link,
    jsonb_build_object('moved_from', v_from.account_id));
  if v_from.account_id is not null then
    perform pgledger._audit_identifier(
      v_from.account_id, 'link_identifier', link_identifier.actor collate "default", v_link,
      jsonb_build_object('moved_to', v_account.account_id));
  end if;
  return v_link;
end;
$$;

comment on function pgledger.link_identifier(
  text, text, pgledger.identifier_kind, boolean, text) is
  'Links an identifier (see resolve_account) to an account that must exist, and answers with the '
  'link. A repeat changes nothing. An identifier belongs to one account: LG002 where it is linked '
  'to another one, or is the id of another one, unless move => true moves it. In the audit log of '
  'each account that it concerns, an email as its SHA-256. Refuses with LG002, LG003, 22023 and '
  '22004.';

revoke all on function pgledger.link_identifier(
  text, text, pgledger.identifier_kind, boolean, text) from public;
