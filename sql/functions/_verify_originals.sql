create or replace function pgledger._verify_originals(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, u.seq, u.key, r.expected, r.found
  from (
    select t.*, sum(t.amount) filter (where t.type <> 'EXPIRY')
        over (partition by t.original_seq order by t.seq) as undone
    from pgledger.transactions t
    where t.account_id = _verify_originals.account_id and t.original_seq is not null
  ) u
  left join pgledger.transactions o
    on o.account_id = _verify_originals.account_id and o.seq = u.original_seq
  -- What earlier refunds of it gave back can be taken again.
  cross join lateral (
    select coalesce(sum(g.amount), 0) as amount
    from pgledger.transactions t
    join pgledger.transactions g
      on g.account_id = _verify_originals.account_id and g.original_seq = t.seq
    where u.type = 'REFUND' and t.type = 'REFUND' and g.seq < u.seq
      and t.account_id = _verify_originals.account_id and t.original_seq = u.original_seq
  ) b
  cross join lateral (values
    ('an original is an earlier transaction',
      o.seq is not null and o.seq < u.seq, 'one before #' || u.seq, '#' || u.original_seq),
    ('a refund takes back a top-up, a reversal undoes another movement',
      coalesce(
        sign(u.amount) = -sign(o.amount)
          and (
            (u.type = case o.type when 'TOP_UP' then 'REFUND' else 'REVERSAL' end
                ::pgledger.transaction_type
              and o.type not in ('REVERSAL', 'REFUND', 'EXPIRY', 'TRANSFER'))
            or u.key = '#revoke-' || o.seq
            -- Of a refund only the ledger gives back, when the money did not leave.
            or (u.type = 'REVERSAL' and o.type = 'REFUND' and starts_with(u.key, '#'))
            or (u.type = 'EXPIRY' and u.lot = o.seq)),
        true),
      'the opposite of ' || o.type || ' ' || o.amount, u.type || ' ' || u.amount),
    ('refunds and reversals are at most their original',
      coalesce(abs(u.undone + b.amount) <= abs(o.amount::numeric), true),
      'at most ' || -o.amount::numeric, (u.undone + b.amount)::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_originals(text) is
  'Where refunds and reversals of an account do not fit what they undo. Private.';

revoke all on function pgledger._verify_originals(text) from public;
