create or replace function pgledger._link(
  kind pgledger.identifier_kind, value text, account_id text
) returns text
language plpgsql
as $$
#variable_conflict use_column
declare
  v_known pgledger.account_identifiers := pgledger._checked_identifier(_link.value, _link.kind);
  v_account_id text;
begin
  select i.account_id into v_account_id
  from pgledger.account_identifiers i
  where i.kind = v_known.kind and i.value = v_known.value;

  if not found then
    -- Two at once: the second waits, and is told whom the first has linked.
    insert into pgledger.account_identifiers as i (kind, value, account_id, linked_at)
    values (v_known.kind, v_known.value, _link.account_id, clock_timestamp())
    on conflict (kind, value) do update set value = excluded.value
    returning i.account_id into v_account_id;
  end if;
  return v_account_id;
end;
$$;

comment on function pgledger._link(pgledger.identifier_kind, text, text) is
  'Links an identifier to an account when nobody has it, and answers with the account that has it '
  'now: another one, where it was linked before. After the lock of the balance row, if any, never '
  'before it. Private.';

revoke all on function pgledger._link(pgledger.identifier_kind, text, text) from public;
