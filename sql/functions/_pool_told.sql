create or replace function pgledger._pool_told(account_id text, balance bigint)
returns table (pool bigint, held_in_lots bigint, head_lot bigint, head_left bigint)
language plpgsql stable rows 1
as $$
begin
  if not exists (
    select from pgledger.lots l where l.account_id = _pool_told.account_id)
  then
    return;
  end if;
  -- Only the row of the lot that was the head may be behind: it is named, to be put back.
  return query
    select (_pool_told.balance - sum(n.remaining) - sum(n.held))::bigint, sum(n.held)::bigint,
      min(n.lot) filter (where (n.stored).remaining <> n.remaining),
      coalesce(min(n.remaining) filter (where (n.stored).remaining <> n.remaining), 0)
    from pgledger._lots_told(_pool_told.account_id) n;
end;
$$;

comment on function pgledger._pool_told(text, bigint) is
  'The pool of an account that has lots, what holds reserve in them, and the lot whose own row '
  'is behind, as the other tables tell; no row for an account without lots. Private.';

revoke all on function pgledger._pool_told(text, bigint) from public;
