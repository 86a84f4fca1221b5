create or replace function pgledger._move_return(
  payment pgledger.payments, return_id text, original_seq bigint, amount bigint
) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_request pgledger._request;
  v_return pgledger.payment_returns;
  v_posted pgledger.posting;
begin
  select r.* into strict v_return
  from pgledger.payment_returns r
  where r.provider = payment.provider and r.return_id = _move_return.return_id;

  -- Whatever the ids are, they must not make a key that is taken.
  loop
    v_return.movements := v_return.movements + 1;
    v_request.key :=
      '#' || payment.provider || '-' || v_return.return_id || '-' || v_return.movements;
    exit when not exists (
      select from pgledger.transactions t
      where t.account_id = payment.account_id and t.key = v_request.key
      union all
      select from pgledger.pending_transactions p
      where p.account_id = payment.account_id and p.key = v_request.key);
  end loop;

  v_request := pgledger._asked(
    payment.account_id, _move_return.amount,
    case when _move_return.amount < 0 then 'REFUND' else 'REVERSAL' end::pgledger.transaction_type,
    v_request.key, 'FORCE', null,
    jsonb_build_object(
      'provider', payment.provider,
      'payment_id', payment.payment_id,
      'return_id', v_return.return_id,
      'kind', v_return.kind),
    true, null);
  v_request.original_seq := _move_return.original_seq;
  if not exists (
    select from pgledger.transactions t
    where t.account_id = payment.account_id and t.external_id = v_return.return_id
      and (t.amount > 0) = (v_request.amount > 0))
  then
    v_request.external_id := v_return.return_id;
  end if;
  v_posted := pgledger._post_locked(
    v_request, pgledger._settle_due(pgledger._lock_balance(payment.account_id)));

  update pgledger.payment_returns r
  set taken = r.taken - v_posted.amount,
      movements = v_return.movements,
      refund_seqs = case when v_posted.amount < 0 then r.refund_seqs || v_posted.seq
        else r.refund_seqs end,
      own_seq = nullif(r.own_seq, _move_return.original_seq)
  where r.provider = payment.provider and r.return_id = v_return.return_id;
end;
$$;

comment on function pgledger._move_return(pgledger.payments, text, bigint, bigint) is
  'Takes credits of a payment for one of its refunds or disputes (amount below 0), or gives back '
  'what a debit took for it. Only under the locks of the payment and the balance row. Private.';

revoke all on function
  pgledger._move_return(pgledger.payments, text, bigint, bigint) from public;
