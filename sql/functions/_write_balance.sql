create or replace function pgledger._write_balance(hot pgledger.balances, held_change bigint)
returns void
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
begin
  if hot.pool is not null then
    -- Two statements: what the first writes is what the second chooses from.
    v_hot := pgledger._put_head_back(hot);
    v_hot := pgledger._choose_head(v_hot);
  end if;
  update pgledger.balances b
  set balance = v_hot.balance, seq = v_hot.seq, updated_at = v_hot.updated_at,
      held = b.held + _write_balance.held_change,
      attention_at = least(b.attention_at, v_hot.attention_at),
      pool = v_hot.pool, held_in_lots = v_hot.held_in_lots,
      head_lot = v_hot.head_lot, head_left = v_hot.head_left,
      cap_left = v_hot.cap_left
  where b.account_id = v_hot.account_id;
end;
$$;

comment on function pgledger._write_balance(pgledger.balances, bigint) is
  'Writes the balance row after movements were entered, with the head that pays next. held '
  'changes by what is given, since hot may leave out expired holds that are not closed yet. '
  'Private.';

revoke all on function pgledger._write_balance(pgledger.balances, bigint) from public;
