create or replace function pgledger._apply_dispute(event pgledger.payment_events, fact jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_payment pgledger.payment;
begin
  v_payment := pgledger.record_dispute(
    provider => event.provider,
    dispute_id => fact ->> 'dispute_id',
    payment_id => fact ->> 'payment_id',
    amount => (fact ->> 'amount')::bigint,
    status => (fact ->> 'status')::pgledger.return_status,
    policy => coalesce(fact ->> 'policy', 'FREEZE')::pgledger.dispute_policy,
    reason => fact ->> 'reason',
    occurred_at => coalesce((fact ->> 'occurred_at')::timestamptz, event.occurred_at));
  return jsonb_build_object('dispute_id', fact -> 'dispute_id')
    || pgledger._payment_result(v_payment);
end;
$$;

comment on function pgledger._apply_dispute(pgledger.payment_events, jsonb) is
  'Records the dispute that a fact tells of; when the event happened where it does not say. '
  'Private.';

revoke all on function pgledger._apply_dispute(pgledger.payment_events, jsonb) from public;
