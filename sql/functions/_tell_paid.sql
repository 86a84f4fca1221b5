create or replace function pgledger._tell_paid(payment pgledger.payments) returns void
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_key text;
begin
  v_hot := pgledger._lock_balance(payment.account_id);
  select coalesce(t.key, '#' || t.seq) into v_key
  from pgledger.transactions t
  where t.account_id = payment.account_id and t.seq = payment.seq;

  perform pgledger._emit(payment.account_id, 'top_up_paid', array[jsonb_build_object(
    'provider', payment.provider,
    'payment_id', payment.payment_id,
    'key', v_key,
    'amount', payment.amount,
    'balance', v_hot.balance,
    'paid', payment.paid,
    'currency', payment.paid_currency)]);
end;
$$;

comment on function pgledger._tell_paid(pgledger.payments) is
  'Tells the outbox of a payment that was credited just now. Private.';

revoke all on function pgledger._tell_paid(pgledger.payments) from public;
