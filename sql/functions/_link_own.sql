create or replace function pgledger._link_own(
  kind pgledger.identifier_kind, value text, account_id text
) returns void
language plpgsql
as $$
declare
  v_request pgledger._request;
  v_account_id text;
begin
  if _link_own.value is null then
    return;
  end if;
  v_account_id := pgledger._link(_link_own.kind, _link_own.value, _link_own.account_id);
  if v_account_id <> _link_own.account_id then
    v_request.account_id := _link_own.account_id;
    perform pgledger._refuse(v_request, null, 'LG002', jsonb_build_object(
      'kind', _link_own.kind, 'linked_to', v_account_id));
  end if;
end;
$$;

comment on function pgledger._link_own(pgledger.identifier_kind, text, text) is
  'Links an identifier to an account; LG002 where it is another account''s, nothing for null. '
  'Private.';

revoke all on function pgledger._link_own(pgledger.identifier_kind, text, text) from public;
