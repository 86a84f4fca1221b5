create or replace function pgledger._judge_refund_request(
  request pgledger._request, original_key text, hot pgledger.balances
) returns bigint
language plpgsql
as $$
declare
  v_original pgledger.transactions;
  v_status pgledger.account_status;
  v_open text;
  v_left bigint;
begin
  select t.* into v_original
  from pgledger.transactions t
  where t.account_id = request.account_id
    and (
      t.key = _judge_refund_request.original_key
      or t.seq = pgledger._seq_of(_judge_refund_request.original_key));
  if not found then
    perform pgledger._refuse(request, hot, 'LG006',
      jsonb_build_object('original_key', _judge_refund_request.original_key));
  elsif v_original.type <> 'TOP_UP' or v_original.amount < 0 then
    perform pgledger._reject('original_key', _judge_refund_request.original_key,
      'It is a ' || v_original.type || ': only the money of a TOP_UP can be given back.');
  end if;

  select a.status into v_status
  from pgledger.accounts a
  where a.account_id = request.account_id;
  if v_status = 'CLOSED' then
    perform pgledger._refuse(request, hot, 'LG004', jsonb_build_object('status', v_status));
  end if;
  select q.key into v_open
  from pgledger.refund_requests q
  where q.account_id = request.account_id and q.original_seq = v_original.seq
    and q.status = 'PENDING';
  if found then
    perform pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
      'original', '#' || v_original.seq, 'open', v_open));
  end if;

  v_left := pgledger._original_left(request.account_id, v_original.seq);
  if v_left = 0 or request.amount > v_left then
    perform pgledger._refuse(request, hot, 'LG009', jsonb_build_object(
      'original', '#' || v_original.seq, 'remaining', v_left, 'requested', request.amount));
  end if;
  perform pgledger._require_unused(request, hot);
  return v_original.seq;
end;
$$;

comment on function
  pgledger._judge_refund_request(pgledger._request, text, pgledger.balances) is
  'The seq of the top-up that a new refund request is of, or its refusal. Only under the lock of '
  'the balance row. Private.';

revoke all on function
  pgledger._judge_refund_request(pgledger._request, text, pgledger.balances) from public;
