create or replace function pgledger._identified(
  known pgledger.account_identifiers, given text
) returns text
language plpgsql stable
as $$
declare
  v_account_id text;
begin
  select i.account_id into v_account_id
  from pgledger.account_identifiers i
  where i.kind = known.kind and i.value = known.value;

  if not found then
    v_account_id := case
      when pgledger._is_known(_identified.given) then _identified.given
      when pgledger._is_known(known.value) then known.value end;
  end if;
  return v_account_id;
end;
$$;

comment on function pgledger._identified(pgledger.account_identifiers, text) is
  'The account that an identifier is linked to, else the one whose id it is: as it was given, or '
  'in its normal form. Null where there is none. Private.';

revoke all on function pgledger._identified(pgledger.account_identifiers, text) from public;
