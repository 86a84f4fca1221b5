create or replace function pgledger._verify_usage(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, u.seq, u.key, r.expected, r.found
  from (
    select t.seq, t.key, t.type, coalesce(t.requested_amount, t.amount) as amount, t.usage
    from pgledger.transactions t
    where t.account_id = _verify_usage.account_id and t.usage is not null
    union all
    select null, p.key, p.type, coalesce(p.requested_amount, p.amount), p.usage
    from pgledger.pending_transactions p
    where p.account_id = _verify_usage.account_id and p.usage is not null
  ) u
  cross join lateral pgledger._usage_sum(u.usage) s
  left join pgledger.price_lists l
    on l.code = u.usage ->> 'code' and pgledger._utc(l.valid_from) = u.usage ->> 'valid_from'
  cross join lateral (values
    ('usage adds up',
      s.adds_up and u.usage -> 'exact' = to_jsonb(s.exact),
      s.exact::text, u.usage ->> 'exact'),
    ('usage has the prices of its list',
      l.rounding::text = u.usage ->> 'rounding' and pgledger._prices_of(l) @> s.units,
      coalesce(l.rounding || ' ' || pgledger._prices_of(l)::text, 'a price list'),
      (u.usage ->> 'rounding') || ' ' || s.units),
    -- A list that is not known has no rounding, and is told of above.
    ('amount is what its usage costs',
      u.type = 'USAGE'
        and coalesce(-u.amount = pgledger._rounded(s.exact, l.rounding), true),
      'USAGE ' || -pgledger._rounded(s.exact, l.rounding), u.type || ' ' || u.amount)
  ) r (rule, holds, expected, found)
  where r.holds is not true
  union all
  select 'an excess is what its capture left', t.seq, t.key,
    c.requested_amount - c.amount || ' beside #' || c.seq,
    coalesce(t.requested_amount, t.amount)::text
  from pgledger.transactions t
  left join pgledger.transactions c
    on c.account_id = _verify_usage.account_id and c.seq = t.seq - 1
  where t.account_id = _verify_usage.account_id and starts_with(t.key, '#excess-')
    and (
      t.key = '#excess-' || c.seq
      and c.usage is not null
      and coalesce(t.requested_amount, t.amount) = c.requested_amount - c.amount
      and t.reference is not distinct from c.reference
    ) is not true;
end;

comment on function pgledger._verify_usage(text) is
  'Where what was used does not add up to the amount of its transaction or hold, or has no such '
  'prices. Private.';

revoke all on function pgledger._verify_usage(text) from public;
