create or replace function pgledger.get_top_up_limits(account_id text default null)
returns setof pgledger.top_up_limits
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select l.*
  from pgledger._top_up_limits_of(case
    when get_top_up_limits.account_id is null then ''
    else pgledger._checked_account(get_top_up_limits.account_id) end) l;
end;

comment on function pgledger.get_top_up_limits(text) is
  'The limits that an account''s top-ups keep to: its own, or those of all, whose account_id is '
  'empty; without an account those of all. No row where there are none. Refuses with 22023.';

revoke all on function pgledger.get_top_up_limits(text) from public;
