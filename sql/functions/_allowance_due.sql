create or replace function pgledger._allowance_due(hot pgledger.balances, at timestamptz)
returns table (key text, amount bigint, expires_at timestamptz)
language sql stable
begin atomic
  select d.key, d.to_lot, d.expires_at
  from pgledger._due(_allowance_due.hot, _allowance_due.at) d
  where (hot).attention_at <= _allowance_due.at
    and d.to_lot > 0;
end;

comment on function pgledger._allowance_due(pgledger.balances, timestamptz) is
  'The allowance that fell due up to an instant and will be a lot when it is posted, after it '
  'paid a debt: its key, how much, and when it ends. Private.';

revoke all on function pgledger._allowance_due(pgledger.balances, timestamptz) from public;
