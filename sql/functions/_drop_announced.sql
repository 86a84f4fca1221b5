create or replace function pgledger._drop_announced(
  account_id text, key text, reason text
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
begin
  v_hot := pgledger._settle_due(pgledger._lock_balance(_drop_announced.account_id));
  v_pending := pgledger._pending_by_key(v_hot, _drop_announced.key, false);
  if v_pending.type = 'TOP_UP' and v_pending.amount > 0 and v_pending.status = 'PENDING' then
    return pgledger._cancel(v_pending, v_hot, _drop_announced.reason);
  end if;
  perform pgledger._forget_unopened(_drop_announced.account_id);
  return null;
end;
$$;

comment on function pgledger._drop_announced(text, text, text) is
  'Cancels an announced top-up that is still pending; null, and nothing done, where there is none. '
  'Private.';

revoke all on function pgledger._drop_announced(text, text, text) from public;
