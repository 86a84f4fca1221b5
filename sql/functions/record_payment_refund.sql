create or replace function pgledger.record_payment_refund(
  provider text,
  refund_id text,
  payment_id text,
  amount bigint,
  status pgledger.return_status,
  request_key text default null,
  account_id text default null,
  occurred_at timestamptz default null
) returns pgledger.payment
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_return pgledger.payment_returns;
begin
  v_return.provider := record_payment_refund.provider collate "default";
  v_return.return_id := record_payment_refund.refund_id collate "default";
  v_return.payment_id := record_payment_refund.payment_id collate "default";
  v_return.kind := 'REFUND';
  v_return.amount := record_payment_refund.amount;
  v_return.status := record_payment_refund.status;
  v_return.request_key := record_payment_refund.request_key collate "default";
  v_return.occurred_at := record_payment_refund.occurred_at;
  perform pgledger._check_return(v_return, 'refund_id');
  perform pgledger._check_label(
    'account_id', record_payment_refund.account_id collate "default");

  perform pgledger._lock_payment(v_return.provider, v_return.payment_id);
  perform pgledger._store_return(v_return);
  return pgledger._return_told(
    v_return, record_payment_refund.account_id collate "default");
end;
$$;

comment on function pgledger.record_payment_refund(
  text, text, text, bigint, pgledger.return_status, text, text, timestamptz) is
  'Tells that a payment was refunded, or that it is to be: amount is the money, in the smallest '
  'unit of the payment''s currency. PENDING and SUCCEEDED take the credits that it stands for '
  'back, whether or not they are there and the account is frozen, by a REFUND of the top-up; '
  'FAILED gives them back to where they came from. All refunds and lost disputes of a payment '
  'together never take more than it brought. The latest by occurred_at counts, then FAILED before '
  'SUCCEEDED before PENDING; what is told again, in whatever order, changes nothing. What is told '
  'of a payment that is not known or not credited yet takes effect when it is. What the '
  'application has refunded itself under external_id => refund_id, or through the refund request '
  'of request_key, is not taken again. account_id: whose it is, where the payment does not say. '
  'Answers with the payment. Refuses with LG002 (the id is another payment''s, or a dispute''s), '
  '22003, 22023 and 22004.';

revoke all on function pgledger.record_payment_refund(
  text, text, text, bigint, pgledger.return_status, text, text, timestamptz) from public;
