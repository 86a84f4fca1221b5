-- Three statements on purpose. Under READ COMMITTED each sees a new snapshot: the insert waits for
-- a first movement in flight, and only what is read after that wait, under the lock, is true.
create or replace function pgledger._lock_balance(account_id text) returns pgledger.balances
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances;
begin
  select b.* into v_hot
  from pgledger.balances b
  where b.account_id = _lock_balance.account_id
  for update;

  if not found then
    insert into pgledger.balances
    select d.*
    from pgledger._derive_balance(_lock_balance.account_id) d
    on conflict (account_id) do nothing;

    select b.* into strict v_hot
    from pgledger.balances b
    where b.account_id = _lock_balance.account_id
    for update;
    if v_hot.pool is not null then
      v_hot := pgledger._put_head_back(v_hot);
      -- A statement of its own again: it must see what the one before wrote.
      v_hot := pgledger._choose_head(v_hot);
      update pgledger.balances b
      set head_lot = v_hot.head_lot, head_left = v_hot.head_left
      where b.account_id = _lock_balance.account_id;
    end if;
  end if;

  v_hot.updated_at := greatest(v_hot.updated_at, clock_timestamp());
  return v_hot;
end;
$$;

comment on function pgledger._lock_balance(text) is
  'Locks the account''s balance row until the transaction ends, making it from history where it '
  'is missing, and returns it as it stands under the lock. Its updated_at is the instant of the '
  'call: the clock read under the lock, by which all that follows is judged and recorded. '
  'Always the first lock taken. Private.';

revoke all on function pgledger._lock_balance(text) from public;
