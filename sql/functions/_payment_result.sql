create or replace function pgledger._payment_result(payment pgledger.payment) returns jsonb
language sql immutable parallel safe
return jsonb_build_object(
  'payment_id', (payment).payment_id,
  'status', (payment).status,
  'account_id', (payment).account_id,
  'key', (payment).key,
  'seq', (payment).seq,
  'amount', (payment).amount,
  'taken', nullif((payment).taken, 0),
  'reason', (payment).reason);

comment on function pgledger._payment_result(pgledger.payment) is
  'What the result of an event tells of a payment. Private.';

revoke all on function pgledger._payment_result(pgledger.payment) from public;
