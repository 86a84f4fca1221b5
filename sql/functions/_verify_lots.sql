create or replace function pgledger._verify_lots(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, l.seq, t.key, r.expected, r.found
  from pgledger._lots_told(_verify_lots.account_id) n
  cross join lateral (select (n.stored).*) l
  left join pgledger.balances b on b.account_id = _verify_lots.account_id
  left join pgledger.transactions t on t.account_id = _verify_lots.account_id and t.seq = n.lot
  cross join lateral (values
    ('a lot is of a credit, and at most that credit',
      coalesce(l.amount between 0 and t.amount, false),
      'at most ' || coalesce(t.amount::text, 'no transaction'), l.amount::text),
    ('a lot is what was drawn, has expired, is held and remains',
      -- Without a balance row, which is no fault, the row of the lot that was the head is behind.
      case
        when b.account_id is null then l.remaining >= n.remaining
        when b.head_lot = l.seq then b.head_left = n.remaining
        else l.remaining = n.remaining
      end,
      n.remaining::text,
      case when b.head_lot = l.seq then b.head_left else l.remaining end::text),
    ('nothing of a lot is below 0',
      least(n.remaining, n.held, n.drawn, n.expired) >= 0, '0',
      least(n.remaining, n.held, n.drawn, n.expired)::text),
    ('a lot ends when it was granted to, was revoked or is extended',
      case
        when l.expires_at = l.granted_expires_at then true
        when l.expires_at < l.granted_expires_at
          and l.expires_at <= greatest(b.updated_at, statement_timestamp()) then true
        -- Extended, after it had ended or was revoked.
        else exists (
          select from pgledger.transaction_draws d
          join pgledger.transactions v on v.account_id = d.account_id and v.seq = d.seq
          where d.account_id = l.account_id and d.lot = l.seq and d.amount < 0
            -- An allowance may have been ended early without a trace, when nothing was left of it.
            and (starts_with(t.key, '#refill-') or v.created_at >= least(l.granted_expires_at, (
              select r.created_at
              from pgledger.transactions r
              where r.account_id = l.account_id and r.key = '#revoke-' || l.seq))))
      end,
      l.granted_expires_at::text, l.expires_at::text),
    ('expired is the sum of expiries',
      l.expired = n.expired, n.expired::text, l.expired::text),
    ('attention_at is not after a lot ends',
      coalesce(b.attention_at <= l.expires_at, true) or n.remaining = 0,
      l.expires_at::text, b.attention_at::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_lots(text) is
  'Where the lots of an account disagree with the journal, the draws and the open holds. '
  'Private.';

revoke all on function pgledger._verify_lots(text) from public;
