create or replace function pgledger._refund_money(payment pgledger.payments, amount bigint)
returns bigint
language plpgsql stable
as $$
declare
  v_credits numeric;
  v_gone numeric;
  v_out numeric;
begin
  select t.amount::numeric,
    (t.amount - pgledger._original_left(t.account_id, t.seq))::numeric
  into strict v_credits, v_gone
  from pgledger.transactions t
  where t.account_id = payment.account_id and t.seq = payment.seq;

  select coalesce(sum(o.money), 0) into strict v_out
  from (
    select r.amount as money
    from pgledger.payment_returns r
    where r.provider = payment.provider and r.payment_id = payment.payment_id
      and pgledger._is_in_effect(r.status, r.policy)
    union all
    select q.money
    from pgledger.refund_requests q
    where q.account_id = payment.account_id and q.original_seq = payment.seq
      and q.due_at is not null
  ) o;

  -- Of all that is gone then, less what was for the rest: parts that make the whole make all of it.
  return greatest(
    least(
      div(payment.paid * (v_gone + _refund_money.amount), v_credits)
        - div(payment.paid * v_gone, v_credits),
      payment.paid - v_out),
    0)::bigint;
end;
$$;

comment on function pgledger._refund_money(pgledger.payments, bigint) is
  'The money that an amount of credits of a payment stands for, rounded down over all of its '
  'refunds, and never more than has neither gone back nor is about to. Only under the lock of the '
  'payment. Private.';

revoke all on function pgledger._refund_money(pgledger.payments, bigint) from public;
