create or replace function pgledger._verify_pending(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, t.seq, p.key, r.expected, r.found
  from pgledger.pending_transactions p
  left join pgledger.transactions t on t.account_id = p.account_id and t.key = p.key
  cross join lateral (values
    ('posted exactly when enabled',
      (p.status = 'ENABLED') = (t.seq is not null), p.status::text,
      case when t.seq is null then 'not posted' else 'posted' end),
    ('posted as announced',
      coalesce(
        p.type = t.type and sign(p.amount) = sign(t.amount)
          and (p.amount > 0 or t.amount >= p.amount),
        true),
      p.type || ' ' || p.amount, t.type || ' ' || t.amount),
    ('a hold expires at expires_at, and is captured before',
      case
        when p.status = 'EXPIRED' then coalesce(p.settled_at = p.expires_at, false)
        when p.status = 'ENABLED' then coalesce(p.settled_at < p.expires_at, true)
        else true
      end,
      'expires at ' || coalesce(p.expires_at::text, 'no time'),
      p.status || ' at ' || p.settled_at),
    ('amount is part of requested_amount',
      coalesce(
        sign(p.requested_amount) = sign(p.amount)
          and abs(p.requested_amount::numeric) > abs(p.amount::numeric),
        p.requested_amount is null),
      p.requested_amount::text, p.amount::text)
  ) r (rule, holds, expected, found)
  where p.account_id = _verify_pending.account_id and not r.holds;
end;

comment on function pgledger._verify_pending(text) is
  'Where the pending transactions of an account disagree with what was posted. Private.';

revoke all on function pgledger._verify_pending(text) from public;
