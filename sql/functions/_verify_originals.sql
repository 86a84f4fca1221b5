create or replace function pgledger._verify_originals(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, u.seq, u.key, r.expected, r.found
  from (
    select t.original_seq, max(t.seq) as seq, max(t.key) as key, sum(t.amount) as undone,
      min(t.seq) as first_seq
    from pgledger.transactions t
    where t.account_id = _verify_originals.account_id and t.original_seq is not null
    group by t.original_seq
  ) u
  left join pgledger.transactions o
    on o.account_id = _verify_originals.account_id and o.seq = u.original_seq
  cross join lateral (values
    ('an original is an earlier transaction',
      o.seq is not null and o.seq < u.first_seq, 'one before #' || u.first_seq,
      '#' || u.original_seq),
    ('refunds and reversals are at most their original',
      coalesce(sign(u.undone) = -sign(o.amount) and abs(u.undone) <= abs(o.amount::numeric), true),
      'at most ' || -o.amount::numeric, u.undone::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_originals(text) is
  'Where refunds and reversals of an account do not fit what they undo. Private.';

revoke all on function pgledger._verify_originals(text) from public;
