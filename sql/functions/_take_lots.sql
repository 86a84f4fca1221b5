create or replace function pgledger._take_lots(
  account_id text, wanted bigint, own_lot bigint, lowest integer, highest integer
) returns table (lot bigint, amount bigint)
language plpgsql
as $$
#variable_conflict use_column
declare
  v_left bigint := _take_lots.wanted;
  v_lot record;
  v_taken bigint;
begin
  for v_lot in
    select l.seq, l.remaining
    from pgledger.lots l
    where l.account_id = _take_lots.account_id
      and l.remaining > 0
      and l.priority between _take_lots.lowest and _take_lots.highest
      and (_take_lots.own_lot is null or l.seq = _take_lots.own_lot)
    order by l.priority, l.expires_at, l.seq
  loop
    exit when v_left = 0;
    v_taken := least(v_left, v_lot.remaining);
    update pgledger.lots l
    set remaining = l.remaining - v_taken
    where l.account_id = _take_lots.account_id and l.seq = v_lot.seq;
    return query select v_lot.seq, v_taken;
    v_left := v_left - v_taken;
  end loop;
end;
$$;

comment on function pgledger._take_lots(text, bigint, bigint, integer, integer) is
  'Takes up to wanted credits out of the lots with a priority from lowest to highest, or out of '
  'its own lot where that is named, in draw order: which, and how much of each. Private.';

revoke all on function pgledger._take_lots(text, bigint, bigint, integer, integer) from public;
