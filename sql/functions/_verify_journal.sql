create or replace function pgledger._verify_journal(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, t.seq, t.key, r.expected, r.found
  from (
    select
      t.*,
      lag(t.seq, 1, 0::bigint) over w as previous_seq,
      lag(t.running_balance, 1, 0::bigint) over w as previous_balance,
      lag(t.created_at, 1, t.created_at) over w as previous_at
    from pgledger.transactions t
    where t.account_id = _verify_journal.account_id
    window w as (order by t.seq)
  ) t
  cross join lateral (values
    ('seq without a gap',
      t.seq = t.previous_seq + 1, (t.previous_seq + 1)::text, t.seq::text),
    ('running_balance is the previous one plus amount',
      t.running_balance = t.previous_balance::numeric + t.amount,
      (t.previous_balance::numeric + t.amount)::text, t.running_balance::text),
    ('created_at never decreases',
      isfinite(t.created_at) and t.created_at >= t.previous_at,
      t.previous_at::text, t.created_at::text),
    ('amount is part of requested_amount',
      coalesce(
        sign(t.requested_amount) = sign(t.amount)
          and abs(t.requested_amount::numeric) > abs(t.amount::numeric),
        t.requested_amount is null),
      t.requested_amount::text, t.amount::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_journal(text) is
  'What is wrong with the posted transactions of an account, each against the one before. Private.';

revoke all on function pgledger._verify_journal(text) from public;
