create or replace function pgledger.get_balance(account_id text)
returns table (
  account_id text,
  currency text,
  status pgledger.account_status,
  balance bigint,
  held bigint,
  available bigint,
  min_balance bigint,
  debt_floor bigint,
  low_balance_level bigint,
  next_expiry_at timestamptz,
  next_expiry_amount bigint
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select
    now.account_id,
    coalesce(a.currency, case when now.seq > 0 then 'CREDIT' end),
    coalesce(a.status, case when now.seq > 0 then 'OPEN'::pgledger.account_status end),
    now.balance,
    now.held,
    now.balance - now.held,
    coalesce(a.min_balance, 0),
    coalesce(a.debt_floor, 0),
    a.low_balance_level,
    next.expires_at,
    next.amount
  from pgledger._balance_now(pgledger._checked_account(get_balance.account_id)) now
  left join pgledger.accounts a on a.account_id = now.account_id
  left join lateral (
    -- Over a debt two lots may be more than a bigint, though no balance is.
    select e.expires_at, least(sum(e.amount), 9223372036854775807)::bigint as amount
    from (
      select n.expires_at, n.remaining as amount
      from pgledger._lots_now(now.account_id, statement_timestamp(), false) n
      where now.pool is not null and n.remaining > 0 and n.expires_at < 'infinity'
      union all
      select d.expires_at, d.amount
      from pgledger._allowance_due(
        pgledger._balance_row(now.account_id), statement_timestamp()) d
      where now.attention_at <= statement_timestamp()
    ) e
    group by e.expires_at
    order by e.expires_at
    limit 1
  ) next on true;
end;

comment on function pgledger.get_balance(text) is
  'One row: the balance, what holds reserve of it, what is available, the account''s floors and '
  'its low-balance level, in minor units, with its currency and status, and when credits expire '
  'next and how much then (both null when none do). Zeros and a null status for an unknown '
  'account. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_balance(text) from public;
