create or replace function pgledger._expire_lot(account_id text, lot bigint) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := pgledger._lock_balance(_expire_lot.account_id);
begin
  update pgledger.lots l
  set expires_at = least(l.expires_at, v_hot.updated_at)
  where l.account_id = _expire_lot.account_id and l.seq = _expire_lot.lot;
  v_hot.attention_at := v_hot.updated_at;
  perform pgledger._settle_due(v_hot);
end;
$$;

comment on function pgledger._expire_lot(text, bigint) is
  'Ends a lot now: what is free in it expires, and what comes back to it later. Private.';

revoke all on function pgledger._expire_lot(text, bigint) from public;
