-- One sum over everything, and no join between lots and what was drawn: whatever the planner thinks
-- of an account, the work is that of reading it once.
create or replace function pgledger._lots_told(account_id text)
returns table (
  lot bigint, remaining bigint, held bigint, drawn bigint, expired bigint, stored pgledger.lots
)
language sql stable
begin atomic
  select n.lot,
    (sum(n.granted) - sum(n.drawn) - sum(n.expired) - sum(n.held))::bigint,
    sum(n.held)::bigint, sum(n.drawn)::bigint, sum(n.expired)::bigint,
    (array_agg(n.stored) filter (where n.granted is not null))[1]
  from (
    select l.seq as lot, l as stored, l.amount as granted, 0::bigint as drawn, 0::bigint as expired,
      0::bigint as held
    from pgledger.lots l
    where l.account_id = _lots_told.account_id
    union all
    select case t.lot when 0 then d.lot else t.lot end, null, null,
      case when e.own then 0 else s.amount end, case when e.own then s.amount else 0 end, 0
    from pgledger.transactions t
    left join pgledger.draws d
      on t.lot = 0 and d.account_id = _lots_told.account_id and d.seq = t.seq
    cross join lateral (values (case t.lot when 0 then d.amount else -t.amount end)) s (amount)
    cross join lateral (values (
      t.type = 'EXPIRY' and coalesce(t.original_seq = t.lot, false))) e (own)
    where t.account_id = _lots_told.account_id and t.lot is not null
    union all
    select r.lot, null, null, 0, 0, r.amount
    from pgledger._reserved(_lots_told.account_id) r
  ) n
  where n.lot is not null
  group by n.lot
  having count(n.granted) > 0;
end;

comment on function pgledger._lots_told(text) is
  'What the journal, the draws and the open holds of an account tell of its lots: what remains '
  'free of each, is held in it, was drawn and expired, minor units; and its row as it stands. '
  'Private.';

revoke all on function pgledger._lots_told(text) from public;
