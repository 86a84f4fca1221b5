create or replace function pgledger._verify_plans(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, null::text, r.expected, r.found
  from pgledger.account_plans n
  join pgledger.plans p on p.code = n.plan
  left join pgledger.accounts a on a.account_id = n.account_id
  left join pgledger.balances b on b.account_id = n.account_id
  cross join lateral (
    select pgledger._period_start(p.period, p.time_zone,
      pgledger._period_anchor(n, p), n.refill_at) as begins_at,
      pgledger._period_end(p.period, p.time_zone,
        pgledger._period_anchor(n, p),
        greatest(n.starts_at, b.updated_at, statement_timestamp())) as next_at
  ) d
  cross join lateral (values
    ('a plan is of an account that is not closed',
      (a.status <> 'CLOSED') is true, 'an account', coalesce(a.status::text, 'none')),
    ('a refill falls due when a period begins',
      n.refill_at in (d.begins_at, n.starts_at) and n.refill_at <= d.next_at,
      least(d.begins_at, d.next_at)::text, n.refill_at::text)
  ) r (rule, holds, expected, found)
  where n.account_id = _verify_plans.account_id and not r.holds
  union all
  select r.rule, t.seq, t.key, r.expected, r.found
  from pgledger.transactions t
  left join pgledger.account_plans n on n.account_id = t.account_id
  left join pgledger.plans p on p.code = t.metadata ->> 'plan'
  left join pgledger.lots l on l.account_id = t.account_id and l.seq = t.seq
  cross join lateral (values
    ('a refill is a grant of the plan in its key',
      t.type = 'GRANT' and starts_with(t.key, '#refill-' || p.code || '-') is true,
      'GRANT of a plan', t.type || coalesce(' of ' || (t.metadata ->> 'plan'), '')),
    ('an allowance ends with its period, other refills do not',
      case
        when p.policy = 'RESET'
        then pgledger._utc(l.granted_expires_at) is not distinct from t.metadata ->> 'period_end'
        else l.seq is null
      end,
      case when p.policy = 'RESET' then t.metadata ->> 'period_end' end,
      pgledger._utc(l.granted_expires_at)),
    ('what was granted is not due again',
      coalesce(t.created_at < n.refill_at, true),
      'after ' || t.created_at, n.refill_at::text)
  ) r (rule, holds, expected, found)
  where t.account_id = _verify_plans.account_id
    and starts_with(t.key, '#refill-')
    and not r.holds;
end;

comment on function pgledger._verify_plans(text) is
  'Where the plan of an account, or what it was granted by plans, breaks the rules. Private.';

revoke all on function pgledger._verify_plans(text) from public;
