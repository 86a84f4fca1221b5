create or replace function pgledger._told_refunds(payment pgledger.payments) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_known numeric;
  v_rest bigint;
  v_taken_by text;
  v_kind pgledger.return_kind;
  v_now timestamptz := clock_timestamp();
begin
  -- Those that failed as well: the sum was told while they had not.
  select coalesce(sum(r.amount), 0) into v_known
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.payment_id = payment.payment_id
    and r.kind = 'REFUND' and r.return_id <> payment.payment_id;
  v_rest := greatest(payment.refunded - v_known, 0)::bigint;

  update pgledger.payment_returns r
  set amount = v_rest, updated_at = v_now
  where r.provider = payment.provider and r.return_id = payment.payment_id
    and r.payment_id = payment.payment_id and r.amount <> v_rest;
  if v_rest > 0 then
    insert into pgledger.payment_returns
      (provider, return_id, payment_id, kind, amount, status, created_at, updated_at)
    values (
      payment.provider, payment.payment_id, payment.payment_id, 'REFUND', v_rest, 'SUCCEEDED',
      v_now, v_now)
    on conflict (provider, return_id) do nothing;

    -- A provider may number its refunds as it numbers its payments.
    select r.payment_id, r.kind into strict v_taken_by, v_kind
    from pgledger.payment_returns r
    where r.provider = payment.provider and r.return_id = payment.payment_id;
    if v_taken_by <> payment.payment_id then
      perform pgledger._refuse(null, null, 'LG002', jsonb_build_object(
        'recorded', jsonb_build_object('payment_id', v_taken_by, 'kind', v_kind),
        'given', jsonb_build_object('payment_id', payment.payment_id, 'kind', 'REFUND')));
    end if;
  end if;
end;
$$;

comment on function pgledger._told_refunds(pgledger.payments) is
  'Keeps, as a refund under the payment''s own id, what was refunded of a payment that is known '
  'only as a part of the sum, until its refunds are told one by one. Only under the lock of the '
  'payment. Private.';

revoke all on function pgledger._told_refunds(pgledger.payments) from public;
