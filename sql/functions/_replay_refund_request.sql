create or replace function pgledger._replay_refund_request(
  request pgledger._request, original_key text, hot pgledger.balances
) returns pgledger.refund_requests
language plpgsql
as $$
declare
  v_asked pgledger.refund_requests;
  v_original bigint;
begin
  select q.* into v_asked
  from pgledger.refund_requests q
  where q.account_id = request.account_id and q.key = request.key;
  if not found then
    return null;
  end if;

  select t.seq into v_original
  from pgledger.transactions t
  where t.account_id = request.account_id
    and (
      t.key = _replay_refund_request.original_key
      or t.seq = pgledger._seq_of(_replay_refund_request.original_key));
  if v_original is distinct from v_asked.original_seq
    or coalesce(request.amount, v_asked.amount) <> v_asked.amount
  then
    perform pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object(
        'original', '#' || v_asked.original_seq, 'amount', v_asked.amount,
        'status', v_asked.status),
      'given', jsonb_build_object(
        'original', coalesce('#' || v_original, _replay_refund_request.original_key),
        'amount', request.amount)));
  end if;
  return v_asked;
end;
$$;

comment on function
  pgledger._replay_refund_request(pgledger._request, text, pgledger.balances) is
  'The refund request of a repeated key; LG002 where that is of another top-up or amount; null '
  'when it is new. Only under the lock of the balance row. Private.';

revoke all on function
  pgledger._replay_refund_request(pgledger._request, text, pgledger.balances) from public;
