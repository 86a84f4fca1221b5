create or replace function pgledger._return_told(
  told pgledger.payment_returns, account_id text default null
) returns pgledger.payment
language plpgsql
as $$
#variable_conflict use_column
declare
  v_payment pgledger.payments;
  v_now timestamptz := clock_timestamp();
begin
  update pgledger.payments p
  set account_id = _return_told.account_id, updated_at = v_now
  where p.provider = told.provider and p.payment_id = told.payment_id
    and p.account_id is null and _return_told.account_id is not null;
  select p.* into strict v_payment
  from pgledger.payments p
  where p.provider = told.provider and p.payment_id = told.payment_id;
  perform pgledger._settle_returns(v_payment, told.return_id);
  perform pgledger._tell_refund_request(v_payment, told.return_id);

  select p.* into strict v_payment
  from pgledger.payments p
  where p.provider = told.provider and p.payment_id = told.payment_id;
  return pgledger._payment_told(v_payment);
end;
$$;

comment on function pgledger._return_told(pgledger.payment_returns, text) is
  'Brings a payment to what was just told of one of its refunds or disputes, and answers with it. '
  'Only under the lock of the payment. Private.';

revoke all on function pgledger._return_told(pgledger.payment_returns, text) from public;
