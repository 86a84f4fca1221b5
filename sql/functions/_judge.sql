create or replace function pgledger._judge(
  request pgledger._request, hot pgledger.balances,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql
as $$
declare
  v_account pgledger.accounts;
  v_left bigint;
begin
  if request.amount is null then
    code := request.usage #>> '{refusal,sqlstate}';
    detail := request.usage #> '{refusal,detail}';
    return;
  end if;

  select a.* into v_account
  from pgledger.accounts a
  where a.account_id = request.account_id;

  if v_account.status = 'CLOSED'
    or (v_account.status = 'FROZEN' and request.amount <= 0 and request.shortfall <> 'FORCE')
  then
    code := 'LG004';
    detail := jsonb_build_object('status', v_account.status, 'requested', request.amount);
    return;
  end if;

  if request.original_seq is not null then
    v_left := pgledger._original_left(request.account_id, request.original_seq);
    if abs(request.amount) > v_left then
      code := 'LG009';
      detail := jsonb_build_object(
        'original', '#' || request.original_seq,
        'remaining', v_left,
        'requested', abs(request.amount));
      return;
    end if;
  end if;

  if request.amount > 0 then
    select c.applied, c.code, c.detail into applied, code, detail
    from pgledger._judge_credit(request, hot) c;
  elsif request.amount = 0 and (v_account.account_id is not null or hot.seq > 0) then
    applied := 0;
  else
    select d.applied, d.code, d.detail into applied, code, detail
    from pgledger._judge_debit(
      request, hot, coalesce(v_account.min_balance, 0), coalesce(v_account.debt_floor, 0)) d;
  end if;
end;
$$;

comment on function pgledger._judge(pgledger._request, pgledger.balances) is
  'Decides a new movement under the lock: the amount that applies, or the code and detail of its '
  'refusal. Private.';

revoke all on function pgledger._judge(pgledger._request, pgledger.balances) from public;
