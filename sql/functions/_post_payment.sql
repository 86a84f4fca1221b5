create or replace function pgledger._post_payment(
  payment pgledger.payments, hot pgledger.balances, final_amount bigint, raise_refusals boolean
) returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request;
  v_pending pgledger.pending_transactions;
  v_answer pgledger.posting;
begin
  v_request := pgledger._asked(
    payment.account_id, _post_payment.final_amount, 'TOP_UP', payment.key, 'REFUSE', null, null,
    _post_payment.raise_refusals, null);
  v_request.external_id := payment.payment_id;
  v_pending := pgledger._pending_by_key(hot, payment.key, false);

  -- A hold is not captured, nor another credit given, by who pays for a top-up.
  if v_pending.type = 'TOP_UP' and v_pending.amount > 0 then
    return pgledger._enable_by_key(v_request, false);
  elsif v_pending.key is not null then
    return pgledger._conflict(v_request, hot, null, v_pending);
  elsif left(payment.key, 1) = '#' then
    return pgledger._refuse(v_request, hot, 'LG006', '{}');
  end if;

  -- Where the application posted that key itself, its amount is what was bought.
  v_request.amount := coalesce(_post_payment.final_amount, payment.amount, (
    select abs(coalesce(t.requested_amount, t.amount))
    from pgledger.transactions t
    where t.account_id = payment.account_id and t.key = payment.key));
  if v_request.amount is null then
    if _post_payment.raise_refusals then
      perform pgledger._reject('amount', null, 'Nothing tells how many credits were bought: say.');
    end if;
    v_answer.error := jsonb_build_object('message', 'amount unknown');
    return v_answer;
  end if;
  v_request.key := coalesce(payment.key, '#' || payment.provider || '-' || payment.payment_id);
  return pgledger._post_locked(v_request, hot);
end;
$$;

comment on function pgledger._post_payment(
  pgledger.payments, pgledger.balances, bigint, boolean) is
  'Posts the top-up of a payment: the one announced under its key, else one of the amount it '
  'tells, under that key or one of the ledger''s own. final_amount, where given, is what it '
  'brings. Under the lock of the balance row. Private.';

revoke all on function
  pgledger._post_payment(pgledger.payments, pgledger.balances, bigint, boolean) from public;
