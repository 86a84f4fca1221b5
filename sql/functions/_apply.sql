create or replace function pgledger._apply(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_answer pgledger.posting;
  v_released bigint := coalesce(request.released, 0);
begin
  perform pgledger._open_if_new(request.account_id);
  v_hot := pgledger._enter(request, hot, _apply.applied);
  v_answer := row(
    request.account_id, coalesce(request.key, '#' || v_hot.seq), v_hot.seq, request.type,
    _apply.applied, request.amount, v_hot.balance, null, null, 'POSTED', false, null,
    v_hot.updated_at, null)::pgledger.posting;

  if v_hot.pool is not null and (_apply.applied > 0 or v_released > 0) then
    v_hot := pgledger._expire_ended(v_hot);
  end if;
  perform pgledger._write_balance(v_hot, -v_released);

  v_answer.balance := v_hot.balance;
  v_answer.available := v_hot.balance - v_hot.held;
  if _apply.applied < 0
    and pgledger._is_low(
      v_answer.available, _apply.applied + v_released, v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, _apply.applied + v_released, request.reference);
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._apply(pgledger._request, pgledger.balances, bigint) is
  'Posts what was judged, under the lock. Private.';

revoke all on function pgledger._apply(pgledger._request, pgledger.balances, bigint) from public;
