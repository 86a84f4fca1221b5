create or replace function pgledger._balance_now(account_id text) returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances;
begin
  select b.* into v_hot
  from pgledger.balances b
  where b.account_id = _balance_now.account_id;

  if not found then
    v_hot := pgledger._derive_balance(_balance_now.account_id);
  end if;
  return pgledger._without_due(v_hot, statement_timestamp());
end;
$$;

comment on function pgledger._balance_now(text) is
  'The balance row as it is, or as the other tables tell it where it is missing, without what '
  'expired holds still reserve in it; without a lock. Private.';

revoke all on function pgledger._balance_now(text) from public;
