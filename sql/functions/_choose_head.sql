create or replace function pgledger._choose_head(hot pgledger.balances) returns pgledger.balances
language plpgsql stable
as $$
declare
  v_hot pgledger.balances := hot;
  v_free bigint := hot.pool - (hot.held - hot.held_in_lots);
begin
  select l.seq, l.remaining into v_hot.head_lot, v_hot.head_left
  from pgledger.lots l
  where l.account_id = hot.account_id and l.remaining > 0 and l.priority <= 0
  order by l.priority, l.expires_at, l.seq
  limit 1;
  if not found then
    select l.seq, l.remaining into v_hot.head_lot, v_hot.head_left
    from pgledger.lots l
    where l.account_id = hot.account_id and l.remaining > 0 and l.priority > 0
    order by l.priority, l.expires_at, l.seq
    limit 1;
    if found and v_free > 0 then
      v_hot.head_lot := null;
      v_hot.head_left := v_free;
    end if;
  end if;
  return v_hot;
end;
$$;

comment on function pgledger._choose_head(pgledger.balances) is
  'The balance row with the head that pays next: the first lot before the pool, else the pool '
  'while it has something, else the first lot after it. Needs the lots as they are, and none '
  'that has ended. Private.';

revoke all on function pgledger._choose_head(pgledger.balances) from public;
