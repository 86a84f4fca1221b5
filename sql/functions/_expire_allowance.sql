create or replace function pgledger._expire_allowance(hot pgledger.balances)
returns pgledger.balances
language plpgsql
as $$
declare
  v_lot bigint := pgledger._allowance(hot.account_id, hot.updated_at);
begin
  if v_lot is null then
    return hot;
  end if;
  return pgledger._expire_lot(hot, v_lot);
end;
$$;

comment on function pgledger._expire_allowance(pgledger.balances) is
  'Lets what remains of the current allowance of an account''s RESET plan expire now. The '
  'balance row after that. Only under its lock, after what was due is posted. Private.';

revoke all on function pgledger._expire_allowance(pgledger.balances) from public;
