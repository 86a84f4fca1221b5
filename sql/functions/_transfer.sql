create or replace function pgledger._transfer(
  debit pgledger._request, credit pgledger._request,
  sender pgledger.balances, receiver pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_debit pgledger._request := debit;
  v_credit pgledger._request := credit;
  v_from pgledger.balances;
  v_to pgledger.balances;
  v_answer pgledger.posting;
  v_code text;
  v_detail jsonb;
begin
  v_answer := pgledger._replay(debit, sender);
  if v_answer.status is not null then
    perform pgledger._forget_unopened(debit.account_id);
    perform pgledger._forget_unopened(credit.account_id);
    return v_answer;
  end if;

  v_from := pgledger._settle_due(sender);
  v_to := pgledger._settle_due(receiver);
  select j.code, j.detail into v_code, v_detail
  from pgledger._judge_transfer(debit, credit, v_from, v_to) j;
  if v_code is not null then
    perform pgledger._forget_unopened(credit.account_id);
    return pgledger._refuse(debit, v_from, v_code, v_detail);
  end if;

  v_debit.counterparty_seq := v_to.seq + 1;
  v_credit.counterparty_seq := v_from.seq + 1;
  perform pgledger._apply(v_credit, v_to, v_credit.amount);
  return pgledger._apply(v_debit, v_from, v_debit.amount);
end;
$$;

comment on function pgledger._transfer(
  pgledger._request, pgledger._request, pgledger.balances, pgledger.balances) is
  'Replays, judges and posts both legs of a transfer, under both locks. Private.';

revoke all on function pgledger._transfer(
  pgledger._request, pgledger._request, pgledger.balances, pgledger.balances) from public;
