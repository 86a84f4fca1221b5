create or replace function pgledger._post_card_check(
  request pgledger._request, hot pgledger.balances, own_key text
) returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request := request;
  v_pending pgledger.pending_transactions;
begin
  v_pending := pgledger._pending_by_key(hot, request.key, false);
  if v_pending.type = 'CARD_CHECK' and v_pending.amount > 0 then
    v_request.amount := null;
    return pgledger._enable_by_key(v_request, false);
  elsif v_pending.key is not null then
    return pgledger._conflict(request, hot, null, v_pending);
  elsif left(request.key, 1) = '#' then
    return pgledger._refuse(request, hot, 'LG006', '{}');
  elsif request.amount is null then
    perform pgledger._forget_unopened(request.account_id);
    return null;
  end if;
  v_request.key := coalesce(request.key, _post_card_check.own_key);
  return pgledger._post_locked(v_request, hot);
end;
$$;

comment on function pgledger._post_card_check(pgledger._request, pgledger.balances, text) is
  'Gives what a card on file brings: what was announced under the request''s key, or its amount; '
  'null where it brings nothing. Under the lock of the balance row. Private.';

revoke all on function
  pgledger._post_card_check(pgledger._request, pgledger.balances, text) from public;
