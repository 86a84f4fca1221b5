-- What a batch asks of an account is judged as one movement of its sum, which is right where all of
-- it goes one way: every balance on the way there lies between the first and the last.
--
-- FULL, because no nested loop can do such a join, however short the planner takes the arrays for.
create or replace function pgledger._judge_together(
  items pgledger._item[], hots pgledger.balances[], places tid[], apart text[], at timestamptz
) returns table (
  item bigint, account_id text, amount bigint, type pgledger.transaction_type, key text,
  reference text, metadata jsonb, usage jsonb, seq bigint, running_balance bigint, total bigint,
  is_last boolean, held bigint, pending_rows bigint, head_lot bigint, place tid,
  posted_at timestamptz, fits boolean
)
language sql stable
as $$
  select i.item, i.account_id, i.amount, i.type, i.key, i.reference, i.metadata, i.usage,
    b.seq + i.nth, case when s.is_small then b.balance + i.so_far end, i.total, i.is_last, b.held,
    b.pending_rows, b.head_lot, b.place, s.posted_at,
    case when i.is_plain and s.is_small and b.attention_at > s.posted_at
        and i.account_id <> all (_judge_together.apart)
        and pgledger._allows(b.balance, b.held, b.floor, i.total)
        and pgledger._fits(b.head_lot, b.head_left, b.cap_left, i.total, i.is_usage)
      then i.total >= 0 or not coalesce(pgledger._is_low(
        b.balance - b.held + i.total, i.total, b.low_below, b.top_up_below), false)
      else false
    end
  from unnest(_judge_together.items) i
  full join unnest(_judge_together.hots, _judge_together.places) b (
    account_id, balance, seq, updated_at, held, pending_rows, attention_at, floor, low_below,
    top_up_below, pool, held_in_lots, head_lot, head_left, cap_left, place)
    on b.account_id = i.account_id
  -- Beside a sum of the batch, a balance below 2^62 overflows nothing.
  cross join lateral (values (
    b.balance between -4611686018427387904 and 4611686018427387904,
    greatest(b.updated_at, _judge_together.at))) s (is_small, posted_at)
$$;

comment on function pgledger._judge_together(
  pgledger._item[], pgledger.balances[], tid[], text[], timestamptz) is
  'For each movement of a batch where in its account''s journal it would stand, and whether it '
  'fits: whether the fast path would post all that is asked of its account, which is none of those '
  'to be kept apart, as long as its key is not taken. Private.';

revoke all on function pgledger._judge_together(
  pgledger._item[], pgledger.balances[], tid[], text[], timestamptz) from public;
