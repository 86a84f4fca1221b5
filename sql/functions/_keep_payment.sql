-- What follows from a payment being credited is done where it is kept, whoever found it out.
create or replace function pgledger._keep_payment(
  known pgledger.payments, payment pgledger.payments
) returns pgledger.payment
language plpgsql
as $$
#variable_conflict use_column
declare
  v_payment pgledger.payments := payment;
  v_now timestamptz := clock_timestamp();
begin
  if payment is distinct from known then
    update pgledger.payments p
    set account_id = payment.account_id, key = payment.key, amount = payment.amount,
      paid = payment.paid, paid_currency = payment.paid_currency, refunded = payment.refunded,
      customer = payment.customer, status = payment.status, reason = payment.reason,
      seq = payment.seq, occurred_at = payment.occurred_at,
      updated_at = v_now
    where p.provider = payment.provider and p.payment_id = payment.payment_id;
  end if;

  if payment.seq is not null then
    if known.seq is null then
      perform pgledger._tell_paid(payment);
    end if;
    if payment.key is not null and (known.seq is null or known.key is null) then
      perform pgledger._drop_announced(
        payment.account_id, payment.key, 'recorded as #' || payment.seq);
    end if;
    if payment.customer is not null and (known.seq is null or known.customer is null) then
      perform pgledger._link('CUSTOMER', payment.customer, payment.account_id);
    end if;
  end if;

  if (payment.seq, payment.refunded, payment.paid)
    is distinct from (known.seq, known.refunded, known.paid)
  then
    perform pgledger._settle_returns(payment);
  end if;

  select p.* into strict v_payment
  from pgledger.payments p
  where p.provider = payment.provider and p.payment_id = payment.payment_id;
  return pgledger._payment_told(v_payment);
end;
$$;

comment on function pgledger._keep_payment(pgledger.payments, pgledger.payments) is
  'Keeps what became of a payment, and does what follows from it: tells the outbox, drops what was '
  'announced for it, links the customer, and takes back what was refunded before. Private.';

revoke all on function pgledger._keep_payment(pgledger.payments, pgledger.payments) from public;
