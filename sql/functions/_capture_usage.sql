create or replace function pgledger._capture_usage(request pgledger._request, quantities jsonb)
returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request := request;
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_cost bigint;
begin
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  v_pending := pgledger._pending_by_key(v_hot, request.key, true);
  if v_pending.key is null then
    return pgledger._refuse_settled(request, v_hot);
  elsif v_pending.usage is null then
    perform pgledger._reject('key', request.key,
      'This hold was not made by hold_usage: use capture.');
  end if;

  select p.cost, p.usage into v_cost, v_request.usage
  from pgledger._priced(v_pending.usage ->> 'code', _capture_usage.quantities,
    (v_pending.usage ->> 'valid_from')::timestamptz) p;
  v_request.type := v_pending.type;
  v_request.amount := -v_cost;

  if v_pending.status <> 'PENDING' then
    return pgledger._replay_usage(v_request, v_hot, v_pending);
  elsif v_cost is null then
    return pgledger._refuse(v_request, v_hot, v_request.usage #>> '{refusal,sqlstate}',
      v_request.usage #> '{refusal,detail}');
  elsif v_cost = 0 then
    update pgledger.pending_transactions p
    set usage = p.usage || jsonb_build_object('used', v_request.usage)
    where p.account_id = request.account_id and p.key = request.key;
    return pgledger._cancel(v_pending, v_hot, 'what was used costs nothing');
  elsif v_cost <= -v_pending.amount then
    return pgledger._enable(v_request, v_hot, v_pending);
  end if;
  return pgledger._capture_beyond(v_request, v_hot, v_pending);
end;
$$;

comment on function pgledger._capture_usage(pgledger._request, jsonb) is
  'Settles a hold of usage by what was really used, under the lock. Private.';

revoke all on function pgledger._capture_usage(pgledger._request, jsonb) from public;
