create or replace function pgledger.explain_balance(account_id text)
returns table (
  item text,
  lot bigint,
  key text,
  amount bigint,
  expires_at timestamptz,
  words text
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text collate "default" := pgledger._checked_account(explain_balance.account_id);
  v_now timestamptz := statement_timestamp();
  v_row pgledger.balances := pgledger._balance_row(v_account);
  v_hot pgledger.balances := pgledger._without_due(v_row, v_now);
  v_pool bigint;
begin
  select (v_hot.balance - coalesce(sum(n.amount), 0))::bigint into v_pool
  from (
    select n.remaining + n.held as amount
    from pgledger._lots_now(v_account, v_now, false) n
    union all
    select d.amount
    from pgledger._allowance_due(v_row, v_now) d
  ) n;

  return query
    select i.item, i.lot, i.key, i.amount, i.expires_at, i.words
    from (
      select 1 as place, 0::bigint as rank, 'pool' as item, null::bigint as lot, null::text as key,
        greatest(v_pool, 0) as amount, null::timestamptz as expires_at,
        'credits without an expiry or a priority' as words
      union all
      select 2, row_number() over (order by l.priority, l.expires_at, l.lot), 'lot', l.lot, l.key,
        l.remaining + l.held, l.expires_at,
        'priority ' || l.priority || case when l.held > 0 then ', held: ' || l.held else '' end
      from pgledger.lots(v_account, false, 10000) l
      union all
      select 2, 9223372036854775807, 'lot', null, d.key, d.amount, d.expires_at,
        'priority 0, not posted yet'
      from pgledger._allowance_due(v_row, v_now) d
      union all
      select 3, 0, 'debt', null, null, v_pool, null, 'the next credits pay it first'
      where v_pool < 0
      union all
      select 4, 0, 'balance', null, null, v_hot.balance, null, 'all of the above'
      union all
      select 5, 0, 'held', null, null, -v_hot.held, null, 'reserved by open holds'
      union all
      select 6, 0, 'available', null, null, v_hot.balance - v_hot.held, null,
        'the balance without what is held'
      union all
      select 7, row_number() over (order by d.due_at), 'due', d.lot,
        coalesce(d.key, t.key, '#' || d.lot), d.amount, d.due_at,
        case when d.lot is null then 'refill' else 'expiry' end
          || ' counted above, posted with the next write'
      from pgledger._due(v_row, v_now) d
      left join pgledger.transactions t on t.account_id = v_account and t.seq = d.lot
      union all
      select 8, 0, 'refill', null, n.plan, n.amount, n.refill_at,
        case n.policy when 'TOP_UP_TO' then 'plan, fills up to the amount' else 'plan' end
      from pgledger.get_plan(v_account) n
    ) i
    order by i.place, i.rank;
end;
$$;

comment on function pgledger.explain_balance(text) is
  'The balance of an account in rows and words, as of the start of the statement, minor units: '
  'the pool, each lot with something left, a debt where there is one; the balance, which is '
  'their sum; what holds reserve of it (below 0) and what is available; then what fell due and '
  'is counted above but not posted yet (expires_at says when), and the next refill (expires_at '
  'says when). Refuses with 22023 and 22004.';

revoke all on function pgledger.explain_balance(text) from public;
