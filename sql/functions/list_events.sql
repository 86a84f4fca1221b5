create or replace function pgledger.list_events(
  account_id text default null,
  limit_count bigint default 100
) returns setof pgledger.events
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_events.limit_count);
begin
  if list_events.account_id is null then
    return query
      select e.*
      from pgledger.events e
      order by e.created_at desc, e.account_id collate "C", e.seq desc
      limit v_limit;
  else
    return query
      select e.*
      from pgledger.events e
      where e.account_id = pgledger._checked_account(list_events.account_id collate "default")
      order by e.seq desc
      limit v_limit;
  end if;
end;
$$;

comment on function pgledger.list_events(text, bigint) is
  'The latest events, of one account or of all, newest first, limit_count of them (1 to 10000), '
  'acknowledged or not; takes none from whoever claims them. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_events(text, bigint) from public;
