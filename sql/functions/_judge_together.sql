-- What a batch asks of an account is judged as one movement of its sum, which is right where all of
-- it goes one way: every balance on the way there lies between the first and the last.
--
-- FULL, because no nested loop can do such a join, however short the planner takes the arrays for.
-- A key is looked up by a scalar subquery: of EXISTS the planner could make a hash of all keys.
create or replace function pgledger._judge_together(
  requests pgledger._request[], hots pgledger.balances[], places tid[], apart text[],
  at timestamptz
) returns table (
  item bigint, account_id text, amount bigint, type pgledger.transaction_type, key text,
  reference text, metadata jsonb, usage jsonb, seq bigint, running_balance numeric, total numeric,
  is_last boolean, held bigint, head_lot bigint, place tid, posted_at timestamptz, fits boolean
)
language sql stable
as $$
  with asked as materialized (
    select r.*
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
      b.seq + row_number() over so_far as seq,
      b.balance + sum(a.amount) over so_far as running_balance,
      sum(a.amount) over whole as total,
      row_number() over so_far = count(*) over whole as is_last,
      bool_and(a.type = 'USAGE') over whole as all_usage,
      bool_and(a.amount < 0) over whole = bool_or(a.amount < 0) over whole
      and bool_and(coalesce(
        pgledger._is_plain(
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
    s.running_balance, s.total, s.is_last, s.held, s.head_lot, s.place, s.posted_at,
    case when s.is_plain and s.attention_at > s.posted_at
        and s.account_id <> all (_judge_together.apart)
        and s.total between -9223372036854775807 and 9223372036854775807
      then pgledger._allows(s.balance, s.held, s.floor, s.total::bigint)
        and pgledger._fits(s.head_lot, s.head_left, s.cap_left, s.total::bigint, s.all_usage)
        and (s.total >= 0 or not coalesce(pgledger._is_low(
          (s.balance - s.held + s.total)::bigint, s.total::bigint, s.low_below, s.top_up_below),
          false))
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
