create or replace function pgledger._credit_payment(
  payment pgledger.payments, final_amount bigint, raise_refusals boolean
) returns pgledger.payments
language plpgsql
as $$
declare
  v_payment pgledger.payments := payment;
  v_hot pgledger.balances;
  v_posted pgledger.transactions;
  v_answer pgledger.posting;
begin
  if payment.account_id is null then
    select i.account_id into v_payment.account_id
    from pgledger.account_identifiers i
    where i.kind = 'CUSTOMER' and i.value = payment.customer;
    if not found then
      v_payment.reason := 'account unknown';
      return v_payment;
    end if;
  end if;

  v_hot := pgledger._lock_balance(v_payment.account_id);
  select t.* into v_posted
  from pgledger.transactions t
  where t.account_id = v_payment.account_id and t.external_id = payment.payment_id
    and t.amount > 0;
  if not found then
    v_answer := pgledger._post_payment(
      v_payment, v_hot, _credit_payment.final_amount, _credit_payment.raise_refusals);
    select t.* into v_posted
    from pgledger.transactions t
    where t.account_id = v_payment.account_id and t.seq = v_answer.seq;
  end if;

  if v_posted.seq is null then
    v_payment.account_id := payment.account_id;
    v_payment.reason := case v_answer.refusal
      when 'LG002' then 'key already used' else v_answer.error ->> 'message' end;
    return v_payment;
  elsif v_posted.type <> 'TOP_UP' or exists (
    select from pgledger.payments p
    where p.account_id = v_payment.account_id and p.seq = v_posted.seq)
  then
    -- The application may have posted it without an external_id: it is still one payment's.
    if _credit_payment.raise_refusals then
      perform pgledger._refuse_payment(payment, 'LG002',
        jsonb_build_object('account_id', v_payment.account_id, 'seq', v_posted.seq));
    end if;
    v_payment.account_id := payment.account_id;
    v_payment.reason := 'key already used';
    return v_payment;
  end if;

  v_payment.seq := v_posted.seq;
  v_payment.amount := v_posted.amount;
  v_payment.reason := null;
  return v_payment;
end;
$$;

comment on function pgledger._credit_payment(pgledger.payments, bigint, boolean) is
  'Credits a payment that succeeded, or finds the top-up that was posted for it: its seq, else the '
  'reason why there is none. Under the lock of its row. Private.';

revoke all on function pgledger._credit_payment(pgledger.payments, bigint, boolean) from public;
