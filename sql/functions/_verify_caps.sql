create or replace function pgledger._verify_caps(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, null::text, r.expected, r.found
  from (values (_verify_caps.account_id)) s (account_id)
  left join pgledger.spending_caps c on c.account_id = s.account_id
  left join pgledger.balances b on b.account_id = s.account_id
  left join pgledger.accounts a on a.account_id = s.account_id
  left join lateral pgledger._cap_now(
    s.account_id, c.resets_at - interval '1 microsecond') n on true
  cross join lateral (values (
    pgledger._period_end(c.period, c.time_zone, null,
      greatest(b.updated_at, statement_timestamp()))
  )) e (ends_at)
  cross join lateral (values
    ('a spending cap has an account',
      c.account_id is null or a.account_id is not null, 'an account', 'none'),
    ('a spending cap resets when a period ends',
      coalesce(c.resets_at = n.resets_at and c.resets_at <= e.ends_at, true),
      least(n.resets_at, e.ends_at)::text, c.resets_at::text),
    ('cap_left is what the cap leaves',
      b.account_id is null
        or b.cap_left is not distinct from n.cap_left
        or (c.resets_at <= statement_timestamp() and b.cap_left is not null) is true,
      coalesce(n.cap_left::text, 'no cap'), coalesce(b.cap_left::text, 'no cap'))
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_caps(text) is
  'Where the spending cap of an account, or what is cached of it, breaks the rules. Private.';

revoke all on function pgledger._verify_caps(text) from public;
