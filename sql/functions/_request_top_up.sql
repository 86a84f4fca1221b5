create or replace function pgledger._request_top_up(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_answer pgledger.posting;
begin
  v_answer := pgledger._announce(request, hot, request.amount);
  insert into pgledger.charges (account_id, key, due_at, created_at)
  values (request.account_id, request.key, hot.updated_at, hot.updated_at);
  perform pgledger._disarm(request.account_id, request.key, null);
  perform pgledger._emit(request.account_id, 'top_up_requested', array[jsonb_build_object(
    'key', request.key,
    'amount', request.amount,
    'available', hot.balance - hot.held,
    'threshold', hot.top_up_below,
    'reference', request.reference)]);
  return v_answer;
end;
$$;

comment on function pgledger._request_top_up(pgledger._request, pgledger.balances) is
  'Records the intent of an auto-top-up and that it is to be charged, tells the outbox, and asks '
  'for no other until it is settled. Private.';

revoke all on function pgledger._request_top_up(pgledger._request, pgledger.balances) from public;
