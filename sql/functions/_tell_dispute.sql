create or replace function pgledger._tell_dispute(
  payment pgledger.payments, dispute pgledger.payment_returns, reason text
) returns void
language plpgsql
as $$
declare
  v_account_id text := coalesce(payment.account_id, '#payments');
begin
  perform pgledger._lock_balance(v_account_id);
  perform pgledger._emit(v_account_id, 'dispute_opened', array[jsonb_build_object(
    'provider', dispute.provider,
    'dispute_id', dispute.return_id,
    'payment_id', dispute.payment_id,
    'amount', dispute.amount,
    'currency', payment.paid_currency,
    'status', dispute.status,
    'reason', _tell_dispute.reason,
    'policy', dispute.policy)]);
end;
$$;

comment on function pgledger._tell_dispute(
  pgledger.payments, pgledger.payment_returns, text) is
  'Writes the event that tells of a new dispute, of #payments where nobody knows whose payment it '
  'is. Only under the lock of the payment. Private.';

revoke all on function pgledger._tell_dispute(
  pgledger.payments, pgledger.payment_returns, text) from public;
