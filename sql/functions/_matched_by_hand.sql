create or replace function pgledger._matched_by_hand(payment pgledger.payments) returns boolean
language sql stable
begin atomic
  select exists (
    select from pgledger.audit_log l
    where l.account_id = (payment).account_id and l.act = 'match_payment'
      and l.arguments ->> 'provider' = (payment).provider
      and l.arguments ->> 'payment_id' = (payment).payment_id);
end;

comment on function pgledger._matched_by_hand(pgledger.payments) is
  'Whether a person said whose a payment is that was credited. Private.';

revoke all on function pgledger._matched_by_hand(pgledger.payments) from public;
