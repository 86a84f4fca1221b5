-- A capture is at most its hold, so what costs more is two movements, judged and written as one:
-- nothing may come between them, and a refusal of the second leaves no trace of the first.
create or replace function pgledger._capture_beyond(
  request pgledger._request, hot pgledger.balances, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_capture pgledger._request := pgledger._as_enabled(request, pending);
  v_excess pgledger._request;
  v_hot pgledger.balances := hot;
  v_applied bigint;
  v_code text;
  v_detail jsonb;
  v_answer pgledger.posting;
begin
  v_excess := pgledger._asked(
    request.account_id, request.amount - pending.amount, pending.type,
    '#excess-' || hot.seq + 1, request.shortfall, pending.reference, v_capture.metadata, null,
    null);
  -- The hold is captured whatever the cap says, and what is above it gets what that leaves.
  if hot.cap_left is not null then
    v_hot.cap_left :=
      greatest(-9223372036854775808, hot.cap_left::numeric + pending.amount)::bigint;
  end if;
  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(v_excess, v_hot) j;
  if v_code is not null and request.shortfall <> 'PARTIAL' then
    return pgledger._refuse(v_capture, hot, v_code, v_detail);
  end if;

  update pgledger.pending_transactions p
  set status = 'ENABLED', settled_at = hot.updated_at
  where p.account_id = pending.account_id and p.key = pending.key;
  v_hot := pgledger._enter(v_capture, hot, pending.amount);
  v_answer := row(request.account_id, request.key, v_hot.seq, pending.type, pending.amount,
    request.amount, v_hot.balance, null, null, 'POSTED', false, null, v_hot.updated_at,
    null)::pgledger.posting;
  if v_code is null then
    v_hot := pgledger._enter(v_excess, v_hot, v_applied);
  end if;
  perform pgledger._write_balance(v_hot, pending.amount);

  v_answer.balance := v_hot.balance;
  v_answer.available := v_hot.balance - v_hot.held;
  if pgledger._is_low(
    v_answer.available, coalesce(v_applied, 0), v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, coalesce(v_applied, 0), pending.reference);
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._capture_beyond(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) is
  'Captures all of a hold of usage that costs more, and spends what is above it beside, as the '
  'request''s shortfall says, under the lock. Private.';

revoke all on function pgledger._capture_beyond(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) from public;
