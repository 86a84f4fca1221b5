-- What a batch asks of an account is judged as one movement of its sum, which is right where all of
-- it goes one way: every balance on the way there lies between the first and the last. In bigint,
-- which amounts below 2^61 in all beside a balance below 2^62 cannot overflow; more does not fit.
--
-- FULL, because no nested loop can do such a join, however short the planner takes the arrays for.
-- A key is looked up by a scalar subquery: of EXISTS the planner could make a hash of all keys.
create or replace function pgledger._judge_together(
  requests pgledger._request[], hots pgledger.balances[], places tid[], apart text[],
  at timestamptz
) returns table (
  item bigint, account_id text, amount bigint, type pgledger.transaction_type, key text,
  reference text, metadata jsonb, usage jsonb, seq bigint, running_balance bigint, total bigint,
  is_last boolean, held bigint, head_lot bigint, place tid, posted_at timestamptz, fits boolean
)
language sql stable
as $$
  with asked as materialized (
    select r.*,
      case when r.amount between -2305843009213693952 / cardinality(_judge_together.requests)
        and 2305843009213693952 / cardinality(_judge_together.requests) then r.amount end as small
    from unnest(_judge_together.requests) with ordinality r (
      account_id, amount, type, key, announced, ceiling_balance, shortfall, reference, external_id,
      metadata, raise_refusals, expires_at, original_seq, counterparty, counterparty_seq, released,
      credits_expire_at, priority, extend, usage, item)
  ), repeated as materialized (
    select a.account_id, a.key from asked a group by a.account_id, a.key having count(a.key) > 1
  ), summed as (
    select a.item, a.account_id, a.amount, a.type, a.key, a.reference, a.metadata, a.usage,
      b.balance, b.held, b.floor, b.low_below, b.top_up_below, b.head_lot, b.head_left, b.cap_left,
      b.attention_at, b.place, greatest(b.updated_at, _judge_together.at) as posted_at,
      b.seq + row_number() over so_far as seq, pgledger._total(a.small) over so_far as so_far,
      pgledger._total(a.small) over whole as total,
      row_number() over so_far = count(*) over whole as is_last,
      b.balance between -4611686018427387904 and 4611686018427387904 as is_small,
      pgledger._total(abs(a.small)) over whole as moved,
      bool_and(coalesce(
        a.small is not null and (a.type = 'USAGE' or b.cap_left is null) and pgledger._is_plain(
          a.shortfall, a.external_id, a.ceiling_balance, a.credits_expire_at, a.priority)
        and pgledger._is_well_formed(a.amount, a.type, a.key, a.reference, a.metadata, a.usage)
        and (a.key is null or (
          (a.account_id, a.key) not in (select r.account_id, r.key from repeated r)
          and (select t.seq from pgledger.transactions t
            where t.account_id = a.account_id and t.key = a.key) is null
          and (b.pending_rows = 0 or (select p.amount from pgledger.pending_transactions p
            where p.account_id = a.account_id and p.key = a.key) is null)
        )), false)) over whole as is_plain
    from asked a
    full join unnest(_judge_together.hots, _judge_together.places) b (
      account_id, balance, seq, updated_at, held, pending_rows, attention_at, floor, low_below,
      top_up_below, pool, held_in_lots, head_lot, head_left, cap_left, place)
      on b.account_id = a.account_id
    window so_far as (
        partition by a.account_id collate "C" order by a.item rows unbounded preceding),
      whole as (partition by a.account_id collate "C" order by a.item
        rows between unbounded preceding and unbounded following)
  )
  select s.item, s.account_id, s.amount, s.type, s.key, s.reference, s.metadata, s.usage, s.seq,
    case when s.is_small then s.balance + s.so_far end, s.total, s.is_last, s.held, s.head_lot,
    s.place, s.posted_at,
    case when s.is_plain and s.is_small and s.moved = abs(s.total) and s.attention_at > s.posted_at
        and s.account_id <> all (_judge_together.apart)
        and pgledger._allows(s.balance, s.held, s.floor, s.total)
        and pgledger._fits(s.head_lot, s.head_left, s.cap_left, s.total, true)
      then s.total >= 0 or not coalesce(pgledger._is_low(
        s.balance - s.held + s.total, s.total, s.low_below, s.top_up_below), false)
      else false
    end
  from summed s
$$;

comment on function pgledger._judge_together(
  pgledger._request[], pgledger.balances[], tid[], text[], timestamptz) is
  'For each movement of a batch where in its account''s journal it would stand, and whether it '
  'fits: whether the fast path would post all that is asked of its account, which is none of those '
  'to be kept apart. Private.';

revoke all on function pgledger._judge_together(
  pgledger._request[], pgledger.balances[], tid[], text[], timestamptz) from public;
