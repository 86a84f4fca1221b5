create or replace function pgledger._judge_transfer(
  debit pgledger._request, credit pgledger._request,
  sender pgledger.balances, receiver pgledger.balances,
  out code text, out detail jsonb
)
language plpgsql
as $$
declare
  v_from_currency text;
  v_to_currency text;
begin
  select a.currency into v_from_currency
  from pgledger.accounts a
  where a.account_id = debit.account_id;
  select a.currency into v_to_currency
  from pgledger.accounts a
  where a.account_id = credit.account_id;

  -- The sender has nothing under this key, so on the receiver it stands for something else.
  if credit.key is not null
    and exists (select from pgledger.get_transaction(credit.account_id, credit.key))
  then
    code := 'LG002';
    select jsonb_build_object(
      'account_id', credit.account_id,
      'recorded', jsonb_build_object(
        'key', t.key, 'type', t.type, 'amount', t.requested_amount, 'status', t.status,
        'counterparty', t.counterparty),
      'given', jsonb_build_object(
        'key', credit.key, 'type', credit.type, 'amount', credit.amount,
        'counterparty', credit.counterparty))
    into detail
    from pgledger.get_transaction(credit.account_id, credit.key) t
    limit 1;
  elsif v_to_currency is null and receiver.seq = 0 then
    code := 'LG003';
    detail := jsonb_build_object('account_id', credit.account_id);
  elsif coalesce(v_from_currency, 'CREDIT') <> coalesce(v_to_currency, 'CREDIT') then
    perform pgledger._reject('to_account_id', credit.account_id,
      'Both accounts must have one currency; this one has '
      || coalesce(v_to_currency, 'CREDIT') || '.');
  else
    select j.code, j.detail into code, detail from pgledger._judge(debit, sender) j;
    if code is null then
      select j.code, j.detail || jsonb_build_object('account_id', credit.account_id)
      into code, detail
      from pgledger._judge(credit, receiver) j;
    end if;
  end if;
end;
$$;

comment on function pgledger._judge_transfer(
  pgledger._request, pgledger._request, pgledger.balances, pgledger.balances) is
  'The code and detail of a transfer''s refusal, or null; under both locks. Private.';

revoke all on function pgledger._judge_transfer(
  pgledger._request, pgledger._request, pgledger.balances, pgledger.balances) from public;
