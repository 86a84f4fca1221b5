create or replace function pgledger._enable_by_key(request pgledger._request, is_hold boolean)
returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request := request;
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_answer pgledger.posting;
begin
  perform pgledger._check_final_amount(request);
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  v_pending := pgledger._pending_by_key(v_hot, request.key, _enable_by_key.is_hold);

  v_request.amount := request.amount
    * case when _enable_by_key.is_hold or v_pending.amount < 0 then -1 else 1 end;

  -- Late money, known by its external_id, is owed to the payer whatever became of the announcement.
  if v_pending.key is null
    or (v_pending.status in ('CANCELLED', 'EXPIRED')
      and (request.external_id is null or v_pending.amount < 0))
  then
    return pgledger._refuse_settled(v_request, v_hot);
  elsif v_pending.status = 'ENABLED' then
    perform pgledger._forget_unopened(request.account_id);
    return pgledger._replay_enabled(v_request, v_hot);
  end if;

  v_request.amount := coalesce(v_request.amount, v_pending.amount);
  v_request.external_id := coalesce(request.external_id, v_pending.external_id);
  v_answer := pgledger._replay_external_id(v_request, v_hot);
  if v_answer.status is not null then
    -- It had its effect under another key: what was announced here must not have it once more.
    if v_answer.replayed and v_pending.status = 'PENDING' then
      perform pgledger._cancel(v_pending, v_hot, 'recorded as ' || v_answer.key);
      v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
      v_answer.available := v_hot.balance - v_hot.held;
    end if;
    return v_answer;
  end if;

  return pgledger._enable(v_request, v_hot, v_pending);
end;
$$;

comment on function pgledger._enable_by_key(pgledger._request, boolean) is
  'Enables the pending transaction of a key, or the hold where only a hold will do, with the '
  'final amount (above 0) where one is given. Private.';

revoke all on function pgledger._enable_by_key(pgledger._request, boolean) from public;
