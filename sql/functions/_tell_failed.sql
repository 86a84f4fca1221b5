create or replace function pgledger._tell_failed(
  known pgledger.payments, payment pgledger.payments, attempt bigint
) returns void
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
begin
  if payment.account_id is null or payment.key is null then
    return;
  elsif left(payment.key, 6) = '#auto-' then
    -- Each attempt is a payment of its own, and counts once, whoever tells of it.
    if _tell_failed.attempt is not null and exists (
      select from pgledger.charges c
      where c.account_id = payment.account_id and c.key = payment.key)
    then
      perform pgledger.decline_top_up(
        payment.account_id, payment.key, _tell_failed.attempt, payment.reason, payment.provider,
        payment.payment_id);
    end if;
    return;
  elsif known.status = 'FAILED' then
    return;
  end if;

  v_hot := pgledger._lock_balance(payment.account_id);
  v_pending := pgledger._pending_by_key(v_hot, payment.key, false);
  if v_pending.type = 'TOP_UP' and v_pending.amount > 0 and v_pending.status = 'PENDING' then
    perform pgledger._emit(payment.account_id, 'top_up_failed', array[jsonb_build_object(
      'provider', payment.provider,
      'payment_id', payment.payment_id,
      'key', payment.key,
      'reason', payment.reason,
      'final', false)]);
  else
    perform pgledger._forget_unopened(payment.account_id);
  end if;
end;
$$;

comment on function pgledger._tell_failed(pgledger.payments, pgledger.payments, bigint) is
  'Tells of a payment that failed: the outbox, where its top-up is still announced and may be paid '
  'otherwise, or the auto-top-up that it was an attempt of. Private.';

revoke all on function
  pgledger._tell_failed(pgledger.payments, pgledger.payments, bigint) from public;
