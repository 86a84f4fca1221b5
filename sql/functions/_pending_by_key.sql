create or replace function pgledger._pending_by_key(
  hot pgledger.balances, key text, is_hold boolean
) returns pgledger.pending_transactions
language plpgsql
as $$
declare
  v_pending pgledger.pending_transactions;
begin
  select p.* into v_pending
  from pgledger.pending_transactions p
  where p.account_id = hot.account_id and p.key = _pending_by_key.key;

  if _pending_by_key.is_hold and v_pending.amount > 0 then
    perform pgledger._reject('key', _pending_by_key.key,
      'This is an announced credit, not a hold: use enable_transaction or cancel_transaction.');
  end if;
  v_pending.status := pgledger._pending_status(
    v_pending.status, v_pending.expires_at, hot.updated_at);
  return v_pending;
end;
$$;

comment on function pgledger._pending_by_key(pgledger.balances, text, boolean) is
  'The pending transaction of a key as it is at hot.updated_at; its key null when there is '
  'none; 22023 when it is no hold and must be one. Only under the lock of the balance row. '
  'Private.';

revoke all on function pgledger._pending_by_key(pgledger.balances, text, boolean) from public;
