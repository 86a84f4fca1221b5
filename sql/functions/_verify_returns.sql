create or replace function pgledger._verify_returns(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select v.rule, p.seq, r.return_id, v.expected, v.found
  from pgledger.payments p
  join pgledger.payment_returns r on r.provider = p.provider and r.payment_id = p.payment_id
  -- What the application posted itself it may also have undone since.
  cross join lateral (
    select coalesce(sum(pgledger._original_left(p.account_id, t.seq)), 0) as amount,
      count(*) as movements,
      bool_and(coalesce(
        t.amount < 0 and (t.original_seq = p.seq or t.external_id = r.return_id), false)
      ) as all_fit,
      bool_or(t.type <> 'REFUND') as may_be_undone
    from pgledger.transactions t
    where t.account_id = p.account_id and t.seq = any (r.refund_seqs)
  ) n
  cross join lateral (values
    ('what a refund or dispute took is in the journal',
      case when n.may_be_undone then r.taken >= n.amount else r.taken = n.amount end,
      n.amount::text, r.taken::text),
    ('what took for a refund or dispute are debits, of the top-up of its payment',
      n.movements = cardinality(r.refund_seqs) and coalesce(n.all_fit, true),
      cardinality(r.refund_seqs)::text, n.movements::text)
  ) v (rule, holds, expected, found)
  where p.account_id = _verify_returns.account_id and not v.holds
  union all
  select 'refunds and disputes take at most what their payment brought', p.seq, p.payment_id,
    'at most ' || coalesce(t.amount, 0), n.taken::text
  from pgledger.payments p
  left join pgledger.transactions t on t.account_id = p.account_id and t.seq = p.seq
  cross join lateral (
    select sum(r.taken) as taken
    from pgledger.payment_returns r
    where r.provider = p.provider and r.payment_id = p.payment_id
  ) n
  where p.account_id = _verify_returns.account_id
    and n.taken > coalesce(t.amount, 0);
end;

comment on function pgledger._verify_returns(text) is
  'Where the refunds and disputes of an account''s payments disagree with the journal. Private.';

revoke all on function pgledger._verify_returns(text) from public;
