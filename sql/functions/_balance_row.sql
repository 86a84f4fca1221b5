create or replace function pgledger._balance_row(account_id text) returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances;
begin
  select b.* into v_hot
  from pgledger.balances b
  where b.account_id = _balance_row.account_id;
  if not found then
    v_hot := pgledger._derive_balance(_balance_row.account_id);
  end if;
  return v_hot;
end;
$$;

comment on function pgledger._balance_row(text) is
  'The balance row as it stands, or as the other tables tell it where it is missing; without a '
  'lock. Private.';

revoke all on function pgledger._balance_row(text) from public;
