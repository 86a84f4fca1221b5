create or replace function pgledger._apply_card_check(event pgledger.payment_events, fact jsonb)
returns jsonb
language sql
begin atomic
  select jsonb_build_object(
    'check_id', fact -> 'check_id',
    'account_id', c.account_id,
    'key', c.key,
    'seq', c.seq,
    'amount', c.amount)
  from pgledger.record_card_check(
    provider => (event).provider,
    check_id => fact ->> 'check_id',
    account_id => fact ->> 'account_id',
    key => fact ->> 'key',
    amount => (fact ->> 'amount')::bigint,
    customer => fact ->> 'customer',
    payment_method => fact ->> 'payment_method') c;
end;

comment on function pgledger._apply_card_check(pgledger.payment_events, jsonb) is
  'Records the card that a fact tells was put on file. Private.';

revoke all on function pgledger._apply_card_check(pgledger.payment_events, jsonb) from public;
