create or replace function pgledger._open_identified(
  known pgledger.account_identifiers, account_id text
) returns pgledger.resolved_account
language plpgsql
as $$
declare
  v_account_id text := coalesce(_open_identified.account_id, gen_random_uuid()::text);
  v_resolved pgledger.resolved_account;
begin
  perform pgledger._lock_balance(v_account_id);
  v_resolved.opened := not pgledger._is_known(v_account_id);
  v_resolved.account_id := pgledger._link(known.kind, known.value, v_account_id);

  if v_resolved.account_id = v_account_id then
    perform pgledger._open_if_new(v_account_id);
  else
    -- Somebody else was faster, and what was to be opened is not needed.
    perform pgledger._forget_unopened(v_account_id);
    v_resolved.opened := false;
  end if;
  return v_resolved;
end;
$$;

comment on function pgledger._open_identified(pgledger.account_identifiers, text) is
  'Opens an account, under a random UUID unless an id is given, for an identifier that nobody has, '
  'and links it; answers with the account that has it then, and whether it is new. Private.';

revoke all on function pgledger._open_identified(pgledger.account_identifiers, text) from public;
