create or replace function pgledger._allowance_due(hot pgledger.balances, at timestamptz)
returns table (key text, amount bigint, expires_at timestamptz)
language sql stable
begin atomic
  select d.key, d.amount + least(greatest(p.pool, -d.amount), 0), d.expires_at
  from pgledger._due(_allowance_due.hot, _allowance_due.at) d
  cross join (values (coalesce((hot).pool, (hot).balance))) p (pool)
  where (hot).attention_at <= _allowance_due.at
    and d.policy = 'RESET'
    and p.pool > -d.amount;
end;

comment on function pgledger._allowance_due(pgledger.balances, timestamptz) is
  'The allowance that fell due up to an instant and will be a lot when it is posted, after it '
  'paid a debt: its key, how much, and when it ends. Private.';

revoke all on function pgledger._allowance_due(pgledger.balances, timestamptz) from public;
