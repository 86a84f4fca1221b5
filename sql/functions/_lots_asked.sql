create or replace function pgledger._lots_asked(account_id text, all_of_them boolean)
returns setof pgledger.lots
language plpgsql stable
as $$
begin
  if _lots_asked.all_of_them then
    return query
      select l.*
      from pgledger.lots l
      where l.account_id = _lots_asked.account_id;
    return;
  end if;
  -- By the indexes of the few, however many are used up.
  return query
    select l.*
    from pgledger.lots l
    where l.account_id = _lots_asked.account_id and l.remaining > 0
    union all
    select l.*
    from pgledger.lots l
    where l.account_id = _lots_asked.account_id and l.remaining = 0
      and l.seq = any (array(
        select r.lot from pgledger._reserved(_lots_asked.account_id) r));
end;
$$;

comment on function pgledger._lots_asked(text, boolean) is
  'The rows of an account''s lots: all of them, or those with something left or held in them. '
  'Private.';

revoke all on function pgledger._lots_asked(text, boolean) from public;
