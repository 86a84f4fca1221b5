create or replace function pgledger._reserve(
  hot pgledger.balances, key text, amount bigint
) returns pgledger.balances
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := pgledger._put_head_back(hot);
  v_sources pgledger._sources;
  v_several boolean;
begin
  v_sources := pgledger._draw(hot, _reserve.amount, null, false);
  v_several := cardinality(v_sources.lots) > 1;
  update pgledger.pending_transactions p
  set lot = case when v_several then 0 else v_sources.lots[1] end
  where p.account_id = hot.account_id and p.key = _reserve.key;

  if v_several then
    insert into pgledger.reservations (account_id, key, place, lot, amount)
    select hot.account_id, _reserve.key, s.place, s.lot, s.amount
    from unnest(v_sources.lots, v_sources.amounts) with ordinality s (lot, amount, place);
  end if;
  v_hot.held_in_lots := hot.held_in_lots + _reserve.amount - v_sources.from_pool;
  return v_hot;
end;
$$;

comment on function pgledger._reserve(pgledger.balances, text, bigint) is
  'Reserves what a hold holds in the lots and the pool, in draw order; the balance row after '
  'it, which the caller writes. Private.';

revoke all on function pgledger._reserve(pgledger.balances, text, bigint) from public;
