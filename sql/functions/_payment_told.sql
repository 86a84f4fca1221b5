create or replace function pgledger._payment_told(payment pgledger.payments)
returns pgledger.payment
language plpgsql stable
as $$
declare
  v_key text := payment.key;
  v_known numeric;
  v_refunded numeric;
  v_disputed numeric;
  v_taken numeric;
begin
  if payment.seq is not null then
    select coalesce(t.key, '#' || t.seq) into v_key
    from pgledger.transactions t
    where t.account_id = payment.account_id and t.seq = payment.seq;
  end if;

  -- What goes under the payment's own id is known only as a sum, which payment.refunded tells.
  select
    sum(r.amount) filter (where r.kind = 'REFUND'),
    sum(r.amount) filter (where r.kind = 'REFUND' and r.status <> 'FAILED'),
    sum(r.amount) filter (where r.kind = 'DISPUTE' and r.status <> 'WON')
  into v_known, v_refunded, v_disputed
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.payment_id = payment.payment_id
    and r.return_id <> payment.payment_id;

  select sum(r.taken) into v_taken
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.payment_id = payment.payment_id;

  return row(
    payment.provider, payment.payment_id, payment.status, payment.account_id, v_key,
    payment.amount, payment.paid, payment.paid_currency,
    least(
      coalesce(v_refunded, 0) + greatest(payment.refunded - coalesce(v_known, 0), 0),
      9223372036854775807),
    least(coalesce(v_disputed, 0), 9223372036854775807), coalesce(v_taken, 0),
    payment.reason, payment.seq, payment.created_at, payment.updated_at
  )::pgledger.payment;
end;
$$;

comment on function pgledger._payment_told(pgledger.payments) is
  'A payment as the functions answer it, with what its refunds and disputes have come to. Private.';

revoke all on function pgledger._payment_told(pgledger.payments) from public;
