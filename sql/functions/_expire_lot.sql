create or replace function pgledger._expire_lot(hot pgledger.balances, lot bigint)
returns pgledger.balances
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := hot;
begin
  update pgledger.lots l
  set expires_at = least(l.expires_at, hot.updated_at)
  where l.account_id = hot.account_id and l.seq = _expire_lot.lot;
  v_hot.attention_at := hot.updated_at;
  return pgledger._settle_due(v_hot);
end;
$$;

comment on function pgledger._expire_lot(pgledger.balances, bigint) is
  'Ends a lot now: what is free in it expires, and what comes back to it later. The balance row '
  'after that. Only under its lock, after what was due is posted. Private.';

revoke all on function pgledger._expire_lot(pgledger.balances, bigint) from public;
