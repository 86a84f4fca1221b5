create or replace function pgledger._unreserve(
  hot pgledger.balances, key text, captured bigint
) returns pgledger._sources
language plpgsql
as $$
#variable_conflict use_column
declare
  v_sources pgledger._sources := pgledger._sources_from(0::bigint, 'infinity'::timestamptz);
  v_left bigint := _unreserve.captured;
  v_part record;
  v_taken bigint;
  v_expires_at timestamptz;
begin
  for v_part in
    select case p.lot when 0 then r.lot else p.lot end as lot,
      coalesce(r.amount, -p.amount) as amount
    from pgledger.pending_transactions p
    left join pgledger.reservations r
      on p.lot = 0 and r.account_id = hot.account_id and r.key = p.key
    where p.account_id = hot.account_id and p.key = _unreserve.key
    order by r.place
  loop
    v_taken := least(v_left, v_part.amount);
    v_left := v_left - v_taken;
    if v_taken > 0 then
      v_sources := pgledger._with_source(v_sources, v_part.lot, v_taken);
    end if;
    continue when v_part.lot is null;

    v_sources.unreserved := v_sources.unreserved + v_part.amount;
    update pgledger.lots l
    set remaining = l.remaining + v_part.amount - v_taken
    where l.account_id = hot.account_id and l.seq = v_part.lot and v_taken < v_part.amount
    returning l.expires_at into v_expires_at;
    v_sources.attention_at := least(v_sources.attention_at, v_expires_at);
  end loop;

  delete from pgledger.reservations r
  where r.account_id = hot.account_id and r.key = _unreserve.key;
  return v_sources;
end;
$$;

comment on function pgledger._unreserve(pgledger.balances, text, bigint) is
  'Ends what a hold reserves: what is captured of it is drawn from where it was reserved, in '
  'that order, and the rest of what was reserved in lots goes back to them. Private.';

revoke all on function pgledger._unreserve(pgledger.balances, text, bigint) from public;
