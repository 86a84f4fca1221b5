create or replace function pgledger._lock_refund_request(account_id text, key text)
returns pgledger.refund_requests
language plpgsql
as $$
declare
  v_request pgledger._request :=
    pgledger._settlement(_lock_refund_request.account_id, _lock_refund_request.key, true);
  v_asked pgledger.refund_requests;
begin
  select q.* into v_asked
  from pgledger.refund_requests q
  where q.account_id = v_request.account_id and q.key = v_request.key;
  if not found then
    perform pgledger._refuse(v_request, null, 'LG006', '{}');
  end if;

  perform pgledger._lock_paid(v_asked.account_id, v_asked.original_seq);
  perform pgledger._lock_balance(v_asked.account_id);
  -- A statement of its own: it must see what was decided during the wait.
  select q.* into strict v_asked
  from pgledger.refund_requests q
  where q.account_id = v_request.account_id and q.key = v_request.key;
  return v_asked;
end;
$$;

comment on function pgledger._lock_refund_request(text, text) is
  'Locks the payment and the balance row that a refund request is of, and returns it as it stands '
  'then; LG006 where there is none. Private.';

revoke all on function pgledger._lock_refund_request(text, text) from public;
