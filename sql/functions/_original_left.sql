create or replace function pgledger._original_left(account_id text, seq bigint) returns bigint
language sql stable
begin atomic
  select greatest(
    abs(o.amount)
      - coalesce(abs((
        select sum(t.amount + coalesce(b.amount, 0))
        from pgledger.transactions t
        -- What a refund took and gave back, since the money did not leave, can be taken again.
        left join lateral (
          select sum(g.amount) as amount
          from pgledger.transactions g
          where t.type = 'REFUND'
            and g.account_id = _original_left.account_id and g.original_seq = t.seq
        ) b on true
        where t.account_id = _original_left.account_id and t.original_seq = _original_left.seq
          -- A refund is of money that was paid, whatever became of the credits.
          and (t.type <> 'EXPIRY' or o.type <> 'TOP_UP')
      )), 0),
    0)::bigint
  from pgledger.transactions o
  where o.account_id = _original_left.account_id and o.seq = _original_left.seq;
end;

comment on function pgledger._original_left(text, bigint) is
  'What refunds and reversals have left of a posted transaction, minor units, not negative; '
  'what expired of a grant is gone as well, what a refund gave back is there again. Private.';

revoke all on function pgledger._original_left(text, bigint) from public;
