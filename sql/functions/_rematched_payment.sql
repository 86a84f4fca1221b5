create or replace function pgledger._rematched_payment(
  known pgledger.payments, told pgledger.payments
) returns pgledger.payment
language plpgsql
as $$
declare
  v_answer pgledger.payment := pgledger._payment_told(known);
begin
  if told.account_id <> known.account_id
    or told.amount <> known.amount
    or told.key not in (v_answer.key, coalesce(known.key, v_answer.key))
  then
    perform pgledger._refuse_payment(known, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object(
        'account_id', known.account_id, 'amount', known.amount, 'key', v_answer.key),
      'given', jsonb_build_object(
        'account_id', told.account_id, 'amount', told.amount, 'key', told.key)));
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._rematched_payment(pgledger.payments, pgledger.payments) is
  'A payment that was credited before, as the answer to whoever matches it again; LG002 for '
  'another account, amount or key. Private.';

revoke all on function
  pgledger._rematched_payment(pgledger.payments, pgledger.payments) from public;
