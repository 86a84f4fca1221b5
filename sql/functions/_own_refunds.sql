create or replace function pgledger._own_refunds(payment pgledger.payments) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  update pgledger.payment_returns r
  set own_seq = o.seq, refund_seqs = r.refund_seqs || o.seq
  from (
    -- One debit counts for one of them.
    select distinct on (f.seq) f.seq, n.return_id
    from pgledger.payment_returns n
    cross join lateral (
      select t.seq, t.original_seq
      from pgledger.transactions t
      where t.account_id = payment.account_id and t.external_id = n.return_id
        and t.amount < 0 and t.type not in ('REVERSAL', 'EXPIRY', 'TRANSFER')
      union all
      select t.seq, t.original_seq
      from pgledger.transactions t
      where t.account_id = payment.account_id and t.original_seq = payment.seq
        and (t.key = n.request_key or exists (
          select from pgledger.refund_requests q
          where q.account_id = t.account_id and q.key = t.key and q.return_id = n.return_id))
        -- Not one whose credits went back because the provider had refused it.
        and pgledger._original_left(t.account_id, t.seq) > 0
    ) f
    where n.provider = payment.provider and n.payment_id = payment.payment_id
      -- Nor for one of another payment: another provider may give the same ids.
      and not exists (
        select from pgledger.payments p
        join pgledger.payment_returns x
          on x.provider = p.provider and x.payment_id = p.payment_id
        where p.account_id = payment.account_id and p.seq in (payment.seq, f.original_seq)
          and f.seq = any (x.refund_seqs))
    order by f.seq, not pgledger._is_in_effect(n.status, n.policy), n.return_id
  ) o
  where r.provider = payment.provider and r.return_id = o.return_id;

  -- From the journal, because an application may have reversed what it posted itself.
  update pgledger.payment_returns r
  set taken = o.left_over
  from (
    select n.return_id,
      coalesce(sum(pgledger._original_left(payment.account_id, s.seq)), 0)::bigint as left_over
    from pgledger.payment_returns n
    left join lateral unnest(n.refund_seqs) s (seq) on true
    where n.provider = payment.provider and n.payment_id = payment.payment_id
    group by n.return_id
  ) o
  where r.provider = payment.provider and r.return_id = o.return_id and r.taken <> o.left_over;
end;
$$;

comment on function pgledger._own_refunds(pgledger.payments) is
  'Finds what the application itself has taken for the refunds and disputes of a payment: the '
  'debit with the provider''s id, or that of the refund request. Only under the locks of the '
  'payment and the balance row. Private.';

revoke all on function pgledger._own_refunds(pgledger.payments) from public;
