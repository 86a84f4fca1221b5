create or replace function pgledger.expiring(
  account_id text,
  within interval default '30 days'
) returns table (
  lot bigint,
  key text,
  amount bigint,
  held bigint,
  expires_at timestamptz,
  priority integer
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgledger._checked_span('within', expiring.within);
  return query
    select n.lot, coalesce(t.key, '#' || n.lot), n.remaining, n.held, n.expires_at, n.priority
    from pgledger._lots_now(
      pgledger._checked_account(expiring.account_id collate "default"), statement_timestamp(),
      false) n
    left join pgledger.transactions t
      on t.account_id = expiring.account_id collate "default" and t.seq = n.lot
    where n.remaining > 0
      and n.expires_at < 'infinity'
      and n.expires_at <=
        (statement_timestamp() at time zone 'UTC' + expiring.within) at time zone 'UTC'
    order by n.expires_at, n.lot;
end;
$$;

comment on function pgledger.expiring(text, interval) is
  'What of an account is about to expire within a time above 0 and of at most 100 years, '
  'soonest first: which lot, how much would go (minor units), what holds reserve in it besides, '
  'which goes when they are released. Refuses with 22023 and 22004.';

revoke all on function pgledger.expiring(text, interval) from public;
