create or replace function pgledger._lots_told(account_id text)
returns table (lot bigint, remaining bigint, held bigint, drawn bigint, expired bigint)
language sql stable
begin atomic
  select l.seq,
    (l.amount - coalesce(d.drawn, 0) - coalesce(d.expired, 0) - coalesce(r.held, 0))::bigint,
    coalesce(r.held, 0)::bigint, coalesce(d.drawn, 0)::bigint, coalesce(d.expired, 0)::bigint
  from pgledger.lots l
  left join (
    select d.lot,
      sum(d.amount) filter (where (t.type = 'EXPIRY' and t.original_seq = d.lot) is not true)
        as drawn,
      sum(d.amount) filter (where t.type = 'EXPIRY' and t.original_seq = d.lot) as expired
    from pgledger.transaction_draws d
    join pgledger.transactions t on t.account_id = d.account_id and t.seq = d.seq
    where d.account_id = _lots_told.account_id and d.lot is not null
    group by d.lot
  ) d on d.lot = l.seq
  left join (
    select r.lot, sum(r.amount) as held
    from pgledger._reserved(_lots_told.account_id) r
    where r.lot is not null
    group by r.lot
  ) r on r.lot = l.seq
  where l.account_id = _lots_told.account_id;
end;

comment on function pgledger._lots_told(text) is
  'What the journal, the draws and the open holds of an account tell of its lots: what remains '
  'free of each, is held in it, was drawn and expired, minor units. Private.';

revoke all on function pgledger._lots_told(text) from public;
