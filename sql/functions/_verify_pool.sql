create or replace function pgledger._verify_pool(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  with told as materialized (
    select n.* from pgledger._lots_told(_verify_pool.account_id) n
  )
  select r.rule, b.seq, null::text, r.expected, r.found
  from pgledger.balances b
  left join (
    select sum(n.remaining) as remaining, sum(n.held) as held
    from told n
    having count(*) > 0
  ) lots on true
  left join lateral (
    select n.lot, n.remaining, (n.stored).priority > 0 as after_pool
    from told n
    where n.remaining > 0
    order by (n.stored).priority, (n.stored).expires_at, n.lot
    limit 1
  ) first on true
  cross join lateral (values (b.pool - (b.held - b.held_in_lots))) f (free)
  cross join lateral (values
    ('balance is the pool and the lots',
      case when lots.held is null then b.pool is null
        else coalesce(b.pool = b.balance - lots.remaining - lots.held, false) end,
      coalesce((b.balance - lots.remaining - lots.held)::text, 'none'),
      coalesce(b.pool::text, 'none')),
    ('held_in_lots is what holds reserve in lots',
      b.held_in_lots is not distinct from lots.held,
      coalesce(lots.held::text, 'none'), coalesce(b.held_in_lots::text, 'none')),
    -- A head that is used up is replaced by the next posting, and so is one while something is due.
    ('the head is first in draw order',
      b.head_left = 0 or b.attention_at <= statement_timestamp()
        or b.head_lot is not distinct from
          case when first.after_pool and f.free > 0 then null else first.lot end,
      coalesce('#' || first.lot, 'the pool'), coalesce('#' || b.head_lot, 'the pool')),
    ('head_left is what the head can pay',
      case
        when b.head_left < 0 then false
        when b.head_lot is not null then b.head_left is not null
        when first.lot is null or b.attention_at <= statement_timestamp() then true
        else coalesce(b.head_left <= greatest(f.free, 0), false)
      end,
      case when b.head_lot is null and first.lot is not null then f.free::text else 'any' end,
      coalesce(b.head_left::text, 'none'))
  ) r (rule, holds, expected, found)
  where b.account_id = _verify_pool.account_id and not r.holds;
end;

comment on function pgledger._verify_pool(text) is
  'Where the pool and the head of an account disagree with its lots. Private.';

revoke all on function pgledger._verify_pool(text) from public;
