create or replace function pgledger.list_events(
  account_id text default null,
  limit_count bigint default 100
) returns setof pgledger.events
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select e.*
  from pgledger.events e
  where list_events.account_id is null
    or e.account_id = pgledger._checked_account(list_events.account_id)
  order by e.created_at desc, e.account_id collate "C", e.seq desc
  limit pgledger._checked_limit(list_events.limit_count);
end;

comment on function pgledger.list_events(text, bigint) is
  'The latest events, of one account or of all, newest first, limit_count of them (1 to 10000), '
  'acknowledged or not; takes none from whoever claims them. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_events(text, bigint) from public;
