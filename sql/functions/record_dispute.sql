create or replace function pgledger.record_dispute(
  provider text,
  dispute_id text,
  payment_id text,
  amount bigint,
  status pgledger.return_status,
  policy pgledger.dispute_policy default 'FREEZE',
  reason text default null,
  occurred_at timestamptz default null
) returns pgledger.payment
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_return pgledger.payment_returns;
  v_payment pgledger.payments;
begin
  v_return.provider := record_dispute.provider collate "default";
  v_return.return_id := record_dispute.dispute_id collate "default";
  v_return.payment_id := record_dispute.payment_id collate "default";
  v_return.kind := 'DISPUTE';
  v_return.amount := record_dispute.amount;
  v_return.status := record_dispute.status;
  v_return.policy := record_dispute.policy;
  v_return.occurred_at := record_dispute.occurred_at;
  perform pgledger._check_return(v_return, 'dispute_id');
  perform pgledger._check_reason(record_dispute.reason collate "default");

  v_payment := pgledger._lock_payment(v_return.provider, v_return.payment_id);
  if pgledger._store_return(v_return) then
    perform pgledger._tell_dispute(
      v_payment, v_return, record_dispute.reason collate "default");
  end if;
  return pgledger._return_told(v_return);
end;
$$;

comment on function pgledger.record_dispute(
  text, text, text, bigint, pgledger.return_status, pgledger.dispute_policy, text, timestamptz) is
  'Tells that a payment is disputed: amount is the money, in the smallest unit of the payment''s '
  'currency. The first that is heard of it writes the event dispute_opened. While it is OPEN, '
  'policy says what it does to the account: FLAG nothing, FREEZE freezes it if it is open, DEDUCT '
  'takes the credits at once. LOST takes them in any case, whether or not they are there, and '
  'leaves the account frozen. WON gives back what it took, and opens the account again if this '
  'dispute froze it, no other one keeps it frozen, and nobody has set its status since. Freezing '
  'and opening are kept in the audit log. The latest by occurred_at counts, then WON before LOST '
  'before OPEN; what is told again, in whatever order, changes nothing. reason: 1 to 1000 '
  'characters, for the event. More in record_payment_refund. Answers with the payment. Refuses '
  'with LG002 (the id is another payment''s, or a refund''s), 22003, 22023 and 22004.';

revoke all on function pgledger.record_dispute(
  text, text, text, bigint, pgledger.return_status, pgledger.dispute_policy, text, timestamptz)
  from public;
