create or replace function pgledger._approve_refund(
  asked pgledger.refund_requests, decision text, decided_by text
) returns pgledger.refund_requests
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := pgledger._lock_balance(asked.account_id);
  v_request pgledger._request;
  v_payment pgledger.payments;
  v_money bigint;
  v_posted pgledger.posting;
  v_decided pgledger.refund_requests;
begin
  select p.* into v_payment
  from pgledger.payments p
  where p.account_id = asked.account_id and p.seq = asked.original_seq and p.paid is not null;
  if found then
    v_money := pgledger._refund_money(v_payment, asked.amount);
  end if;

  v_request := pgledger._asked(
    asked.account_id, -asked.amount, 'REFUND', asked.key, 'FORCE', null, null, true, null);
  v_request.original_seq := asked.original_seq;
  -- What was posted under its key meanwhile may have had its money given back already.
  perform pgledger._require_unused(v_request, v_hot);
  v_posted := pgledger._post_locked(v_request, v_hot);

  update pgledger.refund_requests q
  set status = 'APPROVED', decision = _approve_refund.decision,
      decided_by = _approve_refund.decided_by, decided_at = v_posted.created_at,
      seq = v_posted.seq, provider = v_payment.provider, payment_id = v_payment.payment_id,
      money = v_money, money_currency = v_payment.paid_currency,
      result = case when v_money = 0 then 'nothing to give back' end,
      due_at = case when v_money > 0 then v_posted.created_at end
  where q.account_id = asked.account_id and q.key = asked.key;

  -- The provider may have told of the very refund already, as after a restore from a backup: then
  -- its money is gone, and what it took gives way to what the request takes.
  perform pgledger._settle_returns(v_payment, r.return_id),
    pgledger._tell_refund_request(v_payment, r.return_id)
  from pgledger.payment_returns r
  where r.provider = v_payment.provider and r.payment_id = v_payment.payment_id
    and r.request_key = asked.key and pgledger._is_in_effect(r.status, r.policy);
  select q.* into strict v_decided
  from pgledger.refund_requests q
  where q.account_id = asked.account_id and q.key = asked.key;
  return v_decided;
end;
$$;

comment on function pgledger._approve_refund(pgledger.refund_requests, text, text) is
  'Takes the credits of an open refund request, whether or not they are there, and lets a worker '
  'give the money back, where there is a payment. Only under the locks of the payment and the '
  'balance row. Private.';

revoke all on function pgledger._approve_refund(pgledger.refund_requests, text, text) from public;
