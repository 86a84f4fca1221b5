create or replace function pgledger.resolve_account(
  identifier text,
  kind pgledger.identifier_kind default null,
  open boolean default false,
  account_id text default null
) returns pgledger.resolved_account
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_known pgledger.account_identifiers := pgledger._checked_identifier(
    resolve_account.identifier collate "default", resolve_account.kind);
  v_resolved pgledger.resolved_account;
  v_request pgledger._request;
begin
  if resolve_account.open is null then
    perform pgledger._reject('open', null, 'true or false.');
  end if;
  if resolve_account.account_id is not null then
    perform pgledger._checked_account(resolve_account.account_id collate "default");
  end if;

  v_resolved.account_id := pgledger._identified(
    v_known, resolve_account.identifier collate "default");
  v_resolved.opened := false;

  if v_resolved.account_id is null and resolve_account.open then
    v_resolved := pgledger._open_identified(
      v_known, resolve_account.account_id collate "default");
  elsif v_resolved.account_id is null then
    perform pgledger._refuse(v_request, null, 'LG003', jsonb_build_object(
      'kind', v_known.kind, 'value', v_known.value));
  end if;

  v_resolved.kind := v_known.kind;
  v_resolved.value := v_known.value;
  return v_resolved;
end;
$$;

comment on function pgledger.resolve_account(text, pgledger.identifier_kind, boolean, text) is
  'Whose an identifier is: of the account that it is linked to, else of the one that has it as its '
  'id. Where there is none: LG003, or with open => true an account is opened, as account_id or a '
  'random UUID, and linked; two calls at once open one. The kind need not be given of an email, a '
  'UUID with hyphens, a positive integer, and the provider''s cus_... and pm_...; emails are '
  'compared in lower case (ASCII). A placeholder, such as null, undefined, <email>, 0 or the nil '
  'UUID, is refused whatever the kind. Refuses with LG003, 22023 and 22004.';

revoke all on function
  pgledger.resolve_account(text, pgledger.identifier_kind, boolean, text) from public;
