create or replace function pgledger._expire_ended(hot pgledger.balances)
returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_lot record;
begin
  for v_lot in
    select l.seq, l.remaining
    from pgledger.lots l
    where l.account_id = hot.account_id
      and l.remaining > 0
      and l.expires_at <= hot.updated_at
    order by l.seq
  loop
    v_hot := pgledger._expire(v_hot, v_lot.seq, v_lot.remaining);
  end loop;
  return v_hot;
end;
$$;

comment on function pgledger._expire_ended(pgledger.balances) is
  'Posts the expiry of what has just come back to lots that ended before. Private.';

revoke all on function pgledger._expire_ended(pgledger.balances) from public;
