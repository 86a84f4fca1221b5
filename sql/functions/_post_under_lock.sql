create or replace function pgledger._post_under_lock(request pgledger._request)
returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_answer pgledger.posting;
  v_applied bigint;
  v_code text;
  v_detail jsonb;
begin
  perform pgledger._check_request(request);
  v_hot := pgledger._lock_balance(request.account_id);

  -- A repeat is answered before anything is judged: it asks for nothing.
  v_answer := pgledger._replay(request, v_hot);
  if v_answer.status is not null then
    perform pgledger._forget_unopened(request.account_id);
    return v_answer;
  end if;

  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(request, v_hot) j;

  if v_code is not null then
    return pgledger._refuse(request, v_hot, v_code, v_detail);
  elsif request.announced then
    return pgledger._announce(request, v_hot, v_applied);
  else
    return pgledger._apply(request, v_hot, v_applied);
  end if;
end;
$$;

comment on function pgledger._post_under_lock(pgledger._request) is
  'The slow path: lock first, in a statement of its own, then replay, judge, and record or refuse '
  'on what is seen under the lock. Private.';

revoke all on function pgledger._post_under_lock(pgledger._request) from public;
