create or replace function pgledger._tell_unmatched(payment pgledger.payments) returns void
language plpgsql
as $$
declare
  v_account_id text := coalesce(payment.account_id, '#payments');
begin
  perform pgledger._lock_balance(v_account_id);
  perform pgledger._emit(v_account_id, 'payment_unmatched', array[jsonb_build_object(
    'provider', payment.provider,
    'payment_id', payment.payment_id,
    'paid', payment.paid,
    'currency', payment.paid_currency,
    'account_id', payment.account_id,
    'key', payment.key,
    'reason', payment.reason)]);
end;
$$;

comment on function pgledger._tell_unmatched(pgledger.payments) is
  'Tells the outbox of money that could not be credited: that of its account, or, where nobody '
  'knows whose it is, of the account #payments, which is there for this. Private.';

revoke all on function pgledger._tell_unmatched(pgledger.payments) from public;
