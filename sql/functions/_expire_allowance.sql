create or replace function pgledger._expire_allowance(account_id text) returns void
language plpgsql
as $$
declare
  v_hot pgledger.balances := pgledger._lock_balance(_expire_allowance.account_id);
  v_lot bigint := pgledger._allowance(_expire_allowance.account_id, v_hot.updated_at);
begin
  if v_lot is not null then
    perform pgledger._expire_lot(_expire_allowance.account_id, v_lot);
  end if;
end;
$$;

comment on function pgledger._expire_allowance(text) is
  'Lets what remains of the current allowance of an account''s RESET plan expire now. Only under '
  'the lock of the balance row, after what was due is posted. Private.';

revoke all on function pgledger._expire_allowance(text) from public;
