create or replace function pgledger._apply_refund(event pgledger.payment_events, fact jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_payment pgledger.payment;
begin
  v_payment := pgledger.record_payment_refund(
    provider => event.provider,
    refund_id => fact ->> 'refund_id',
    payment_id => fact ->> 'payment_id',
    amount => (fact ->> 'amount')::bigint,
    status => (fact ->> 'status')::pgledger.return_status,
    request_key => fact ->> 'request_key',
    account_id => fact ->> 'account_id',
    occurred_at => coalesce((fact ->> 'occurred_at')::timestamptz, event.occurred_at));
  return jsonb_build_object('refund_id', fact -> 'refund_id')
    || pgledger._payment_result(v_payment);
end;
$$;

comment on function pgledger._apply_refund(pgledger.payment_events, jsonb) is
  'Records the refund that a fact tells of; when the event happened where it does not say. '
  'Private.';

revoke all on function pgledger._apply_refund(pgledger.payment_events, jsonb) from public;
