create or replace function pgledger._settle_returns(
  payment pgledger.payments, return_id text default null
) returns void
language plpgsql
as $$
declare
  v_reason text;
begin
  perform pgledger._told_refunds(payment);
  if payment.account_id is null or not exists (
    select from pgledger.payment_returns r
    where r.provider = payment.provider and r.payment_id = payment.payment_id
      and (payment.seq is not null or r.kind = 'DISPUTE'))
  then
    return;
  end if;

  perform pgledger._settle_due(pgledger._lock_balance(payment.account_id));
  perform pgledger._open_if_new(payment.account_id);
  perform pgledger._freeze_disputed(payment);
  if payment.seq is null then
    return;
  end if;

  if exists (
    select from pgledger.accounts a
    where a.account_id = payment.account_id and a.status = 'CLOSED')
  then
    v_reason := 'account not open';
  else
    perform pgledger._level_returns(payment, _settle_returns.return_id);
  end if;
  update pgledger.payments p
  set reason = v_reason
  where p.provider = payment.provider and p.payment_id = payment.payment_id
    and p.reason is distinct from v_reason;
end;
$$;

comment on function pgledger._settle_returns(pgledger.payments, text) is
  'Brings the account of a payment to what is known of its refunds and disputes; return_id: the '
  'one that changed. Of a closed account nothing is taken, which the payment''s reason tells. To '
  'be called whenever something changed: of the payment, its credit, or its returns; it may change '
  'the payment''s row. Only under the lock of the payment. Private.';

revoke all on function pgledger._settle_returns(pgledger.payments, text) from public;
