create or replace function pgledger._apply_payment(event pgledger.payment_events, fact jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_payment pgledger.payment;
begin
  v_payment := pgledger.record_payment(
    provider => event.provider,
    payment_id => fact ->> 'payment_id',
    status => (fact ->> 'status')::pgledger.payment_status,
    account_id => fact ->> 'account_id',
    key => fact ->> 'key',
    amount => (fact ->> 'amount')::bigint,
    paid => (fact ->> 'paid')::bigint,
    currency => fact ->> 'currency',
    refunded => (fact ->> 'refunded')::bigint,
    customer => fact ->> 'customer',
    reason => fact ->> 'reason',
    occurred_at => coalesce((fact ->> 'occurred_at')::timestamptz, event.occurred_at),
    attempt => (fact ->> 'attempt')::bigint);
  return pgledger._payment_result(v_payment);
end;
$$;

comment on function pgledger._apply_payment(pgledger.payment_events, jsonb) is
  'Records the payment that a fact tells of; when the event happened where it does not say. '
  'Private.';

revoke all on function pgledger._apply_payment(pgledger.payment_events, jsonb) from public;
