create or replace function pgledger._put_head_back(hot pgledger.balances)
returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
begin
  if hot.head_lot is not null then
    update pgledger.lots l
    set remaining = hot.head_left
    where l.account_id = hot.account_id
      and l.seq = hot.head_lot
      and l.remaining <> hot.head_left;
  end if;
  v_hot.head_lot := null;
  v_hot.head_left := null;
  return v_hot;
end;
$$;

comment on function pgledger._put_head_back(pgledger.balances) is
  'Writes what remains of the head lot into its own row, before lots are changed; the balance '
  'row without a head, which _write_balance chooses anew. Only under the lock of the balance '
  'row. Private.';

revoke all on function pgledger._put_head_back(pgledger.balances) from public;
