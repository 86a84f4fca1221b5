create or replace function pgledger.get_auto_top_up(account_id text)
returns setof pgledger.auto_top_ups
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select s.*
  from pgledger.auto_top_ups s
  where s.account_id = pgledger._checked_account(get_auto_top_up.account_id);
end;

comment on function pgledger.get_auto_top_up(text) is
  'The auto-top-up of an account, and what holds it back now: waiting_for, the key of an open '
  'intent, or resumes_at, the end of a period whose limit is reached; no row when none was set. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.get_auto_top_up(text) from public;
