create or replace function pgledger._settle_returns(
  payment pgledger.payments, return_id text default null
) returns void
language plpgsql
as $$
declare
  v_reason text;
  v_now timestamptz := clock_timestamp();
begin
  perform pgledger._told_refunds(payment);
  if payment.seq is null or not exists (
    select from pgledger.payment_returns r
    where r.provider = payment.provider and r.payment_id = payment.payment_id)
  then
    return;
  end if;

  perform pgledger._settle_due(pgledger._lock_balance(payment.account_id));
  perform pgledger._open_if_new(payment.account_id);
  perform pgledger._freeze_disputed(payment);
  v_reason := pgledger._level_returns(payment, _settle_returns.return_id);
  update pgledger.payments p
  set reason = v_reason, updated_at = v_now
  where p.provider = payment.provider and p.payment_id = payment.payment_id
    and p.reason is distinct from v_reason;
end;
$$;

comment on function pgledger._settle_returns(pgledger.payments, text) is
  'Brings the account of a payment to what is known of its refunds and disputes, once it is '
  'credited; return_id: the one that changed. To be called whenever something changed: its credit, '
  'what was paid or refunded of it, or a return; it may change reason in the payment''s row. Only '
  'under the lock of the payment. Private.';

revoke all on function pgledger._settle_returns(pgledger.payments, text) from public;
