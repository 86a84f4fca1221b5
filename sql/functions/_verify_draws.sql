create or replace function pgledger._verify_draws(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, t.seq, t.key, r.expected, r.found
  from pgledger.transactions t
  left join lateral (
    select d.seq, sum(d.amount) as drawn, count(*) as sources, max(d.place) as last_place
    from pgledger.draws d
    where d.account_id = _verify_draws.account_id and d.seq = t.seq
    group by d.seq
  ) d on true
  -- A limit, so that it is looked up: the planner, who takes an account for a row, would join.
  left join lateral (
    select l.seq,
      -- An allowance may have been ended early, and lived on later.
      case when starts_with(o.key, '#refill-') then '-infinity'::timestamptz
        else least(l.expires_at, l.granted_expires_at) end as ended_at
    from pgledger.lots l
    left join pgledger.transactions o
      on o.account_id = _verify_draws.account_id and o.seq = l.seq
    where l.account_id = _verify_draws.account_id and l.seq = t.lot
    limit 1
  ) l on true
  cross join lateral (values
    ('draws are there where several sources paid',
      case when t.lot = 0
        then coalesce(d.sources > 1 and d.sources = d.last_place, false) else d.seq is null end,
      case when t.lot = 0 then 'several' else 'none' end, coalesce(d.sources, 0)::text),
    ('draws add up to their transaction',
      coalesce(d.drawn = -t.amount, true), (-t.amount)::text, d.drawn::text),
    ('only debits and reversals draw',
      t.lot is null or t.amount < 0 or t.type = 'REVERSAL', 'none', t.type || ' ' || t.amount),
    ('a lot that paid is there, and was before',
      coalesce(t.lot, 0) = 0 or coalesce(l.seq < t.seq, false), 'a lot before #' || t.seq,
      coalesce('#' || l.seq, 'none')),
    ('an expiry is of one lot, from its end on',
      t.type <> 'EXPIRY' or t.original_seq is null
        or coalesce(t.amount < 0 and t.lot = t.original_seq
          and t.created_at >= l.ended_at, false),
      'from ' || coalesce(l.ended_at::text, 'no lot'),
      t.created_at::text)
  ) r (rule, holds, expected, found)
  where t.account_id = _verify_draws.account_id and not r.holds
  union all
  select 'a draw is of a lot of a transaction', d.seq, null, 'both', coalesce('#' || d.lot, 'pool')
  from pgledger.draws d
  left join pgledger.transactions t on t.account_id = d.account_id and t.seq = d.seq
  left join pgledger.lots l on l.account_id = d.account_id and l.seq = d.lot
  where d.account_id = _verify_draws.account_id
    and (t.seq is null or (d.lot is not null and l.seq is null));
end;

comment on function pgledger._verify_draws(text) is
  'Where the draws of an account disagree with its transactions and lots. Private.';

revoke all on function pgledger._verify_draws(text) from public;
