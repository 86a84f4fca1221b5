create or replace function pgledger._lock_paid(account_id text, seq bigint) returns void
language plpgsql
as $$
begin
  perform from pgledger.payments p
  where p.account_id = _lock_paid.account_id and p.seq = _lock_paid.seq
  for update;
end;
$$;

comment on function pgledger._lock_paid(text, bigint) is
  'Locks the payment that became a top-up, where there is one: before the balance row, since that '
  'is the order in which refunds and disputes are recorded. Private.';

revoke all on function pgledger._lock_paid(text, bigint) from public;
