-- A hold that expires gives back to its lots first: what it gives to a lot that has ended expires
-- at that moment, what it gives to one that ends later expires with it.
create or replace function pgledger._expiries_due(hot pgledger.balances, at timestamptz)
returns table (due_at timestamptz, lot bigint, amount bigint)
language sql stable
begin atomic
  select e.due_at, e.lot, sum(e.amount)::bigint
  from (
    select l.expires_at as due_at, l.seq as lot,
      case when l.seq = (hot).head_lot then (hot).head_left else l.remaining end as amount
    from pgledger.lots l
    where l.account_id = (hot).account_id
      and l.remaining > 0
      and l.expires_at <= _expiries_due.at
    union all
    select greatest(l.expires_at, r.expires_at), l.seq, r.amount
    from pgledger._reserved((hot).account_id) r
    join pgledger.lots l on l.account_id = (hot).account_id and l.seq = r.lot
    where (hot).held_in_lots > 0
      and r.expires_at <= _expiries_due.at and l.expires_at <= _expiries_due.at
  ) e
  group by e.due_at, e.lot
  having sum(e.amount) > 0;
end;

comment on function pgledger._expiries_due(pgledger.balances, timestamptz) is
  'What fell due up to an instant and is not posted yet of lots that ended: when, which, and '
  'how much of it, minor units above 0. Private.';

revoke all on function pgledger._expiries_due(pgledger.balances, timestamptz) from public;
