create or replace function pgledger._verify_balance(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, b.seq, null::text, r.expected, r.found
  from pgledger.balances b
  cross join lateral pgledger._derive_balance(b.account_id) d
  cross join lateral (values
    ('balance is the last running_balance',
      b.balance = d.balance, d.balance::text, b.balance::text),
    ('balance.seq is the last seq', b.seq = d.seq, d.seq::text, b.seq::text),
    ('held is the sum of open holds', b.held = d.held, d.held::text, b.held::text),
    ('floor is min_balance', b.floor = d.floor, d.floor::text, b.floor::text),
    ('pending_rows counts pending transactions',
      b.pending_rows = d.pending_rows, d.pending_rows::text, b.pending_rows::text),
    ('low_below is low_balance_level',
      b.low_below is not distinct from d.low_below,
      coalesce(d.low_below::text, 'none'), coalesce(b.low_below::text, 'none')),
    ('top_up_below is the armed threshold',
      b.top_up_below is not distinct from d.top_up_below,
      coalesce(d.top_up_below::text, 'none'), coalesce(b.top_up_below::text, 'none')),
    -- It may come early, as after a capture: then the next posting looks, and finds nothing due.
    ('attention_at is not after what is due',
      b.attention_at <= d.attention_at
        and (b.attention_at = '-infinity') = (d.attention_at = '-infinity'),
      d.attention_at::text, b.attention_at::text),
    ('updated_at is not before the last transaction',
      b.updated_at >= d.updated_at, d.updated_at::text, b.updated_at::text)
  ) r (rule, holds, expected, found)
  where b.account_id = _verify_balance.account_id and not r.holds
  union all
  select 'balance is the sum of amounts', b.seq, null, t.total::text, b.balance::text
  from pgledger.balances b
  cross join lateral (
    select coalesce(sum(t.amount), 0) as total
    from pgledger.transactions t
    where t.account_id = b.account_id
  ) t
  where b.account_id = _verify_balance.account_id and t.total <> b.balance;
end;

comment on function pgledger._verify_balance(text) is
  'Where the hot row of an account differs from what the other tables tell. Private.';

revoke all on function pgledger._verify_balance(text) from public;
