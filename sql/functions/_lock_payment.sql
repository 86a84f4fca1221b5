-- Three statements on purpose, as in _lock_balance(): the insert waits for who tells of the same
-- payment first, and only what is read after that wait, under the lock, is true.
create or replace function pgledger._lock_payment(provider text, payment_id text)
returns pgledger.payments
language plpgsql
as $$
#variable_conflict use_column
declare
  v_payment pgledger.payments;
  v_now timestamptz := clock_timestamp();
begin
  select p.* into v_payment
  from pgledger.payments p
  where p.provider = _lock_payment.provider and p.payment_id = _lock_payment.payment_id
  for update;

  if not found then
    insert into pgledger.payments (provider, payment_id, created_at, updated_at)
    values (_lock_payment.provider, _lock_payment.payment_id, v_now, v_now)
    on conflict (provider, payment_id) do nothing;

    select p.* into strict v_payment
    from pgledger.payments p
    where p.provider = _lock_payment.provider and p.payment_id = _lock_payment.payment_id
    for update;
  end if;
  return v_payment;
end;
$$;

comment on function pgledger._lock_payment(text, text) is
  'Locks the row of a payment until the transaction ends, making it, as PROCESSING, where nobody '
  'has told of the payment yet, and returns it as it stands under the lock. Never after the lock '
  'of a balance row. Private.';

revoke all on function pgledger._lock_payment(text, text) from public;
