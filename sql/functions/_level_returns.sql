create or replace function pgledger._level_returns(payment pgledger.payments, last_id text)
returns text
language plpgsql
as $$
#variable_conflict use_column
declare
  v_credits bigint;
  v_taken bigint;
  v_target bigint;
  v_part bigint;
  v_step record;
begin
  perform pgledger._own_refunds(payment);
  select t.amount into strict v_credits
  from pgledger.transactions t
  where t.account_id = payment.account_id and t.seq = payment.seq;
  select coalesce(sum(r.taken), 0)::bigint into v_taken
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.payment_id = payment.payment_id;
  select coalesce(max(t.target), 0) into v_target
  from pgledger._return_targets(payment, v_credits, null) t;
  if v_target <> v_taken and exists (
    select from pgledger.accounts a
    where a.account_id = payment.account_id and a.status = 'CLOSED')
  then
    return 'account not open';
  end if;

  for v_step in
    select t.return_id, t.target
    from pgledger._return_targets(payment, v_credits, _level_returns.last_id) t
    order by t.place
  loop
    -- What the application has refunded of it for other reasons cannot be taken twice.
    v_part := least(
      v_step.target - v_taken, pgledger._original_left(payment.account_id, payment.seq));
    continue when v_part <= 0;
    perform pgledger._move_return(payment, v_step.return_id, payment.seq, -v_part);
    v_taken := v_taken + v_part;
  end loop;

  for v_step in
    select r.return_id, s.seq, pgledger._original_left(payment.account_id, s.seq) as left_over
    from pgledger.payment_returns r
    cross join lateral unnest(r.refund_seqs) s (seq)
    where r.provider = payment.provider and r.payment_id = payment.payment_id
    order by pgledger._is_in_effect(r.status, r.policy) and r.amount > 0,
      s.seq is not distinct from r.own_seq, s.seq desc
  loop
    v_part := least(v_taken - v_target, v_step.left_over);
    continue when v_part <= 0;
    perform pgledger._move_return(payment, v_step.return_id, v_step.seq, v_part);
    v_taken := v_taken - v_part;
  end loop;

  return case
    when payment.paid is null and exists (
      select from pgledger.payment_returns r
      where r.provider = payment.provider and r.payment_id = payment.payment_id
        and r.own_seq is null and pgledger._is_in_effect(r.status, r.policy))
    then 'paid unknown'
  end;
end;
$$;

comment on function pgledger._level_returns(pgledger.payments, text) is
  'Takes what the refunds and disputes of a credited payment are to take by now and have not, or '
  'gives back what they have taken beyond it; why it could not, else null: of a closed account, or '
  'where nobody knows what was paid. Only under the locks of the payment and the balance row. '
  'Private.';

revoke all on function pgledger._level_returns(pgledger.payments, text) from public;
