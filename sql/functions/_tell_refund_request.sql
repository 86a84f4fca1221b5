create or replace function pgledger._tell_refund_request(
  payment pgledger.payments, return_id text
) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_return pgledger.payment_returns;
begin
  select r.* into strict v_return
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.return_id = _tell_refund_request.return_id;

  update pgledger.refund_requests q
  set return_id = v_return.return_id, result = v_return.status, due_at = null
  where q.account_id = payment.account_id and q.original_seq = payment.seq
    and q.status = 'APPROVED'
    and (
      q.return_id = v_return.return_id
      or (q.return_id is null and q.key = v_return.request_key));
end;
$$;

comment on function pgledger._tell_refund_request(pgledger.payments, text) is
  'Tells the refund request that a refund carries out what has become of the money, so that no '
  'worker does it again. Only under the lock of the payment. Private.';

revoke all on function pgledger._tell_refund_request(pgledger.payments, text) from public;
