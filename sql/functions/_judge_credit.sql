create or replace function pgledger._judge_credit(
  request pgledger._request, hot pgledger.balances,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql stable
as $$
begin
  if hot.balance >= request.ceiling_balance then
    code := 'LG005';
    detail := jsonb_build_object(
      'balance', hot.balance,
      'ceiling_balance', request.ceiling_balance,
      'requested', request.amount);
    return;
  end if;

  -- least() ignores null: without a ceiling the whole amount applies.
  applied := least(request.amount, request.ceiling_balance::numeric - hot.balance)::bigint;
  perform pgledger._check_range(request, hot, applied);
end;
$$;

comment on function pgledger._judge_credit(pgledger._request, pgledger.balances) is
  'How much of a credit applies: all of it, or what fits under ceiling_balance; LG005 when '
  'nothing fits; 22003 when the balance would leave the range of bigint. Private.';

revoke all on function pgledger._judge_credit(pgledger._request, pgledger.balances) from public;
