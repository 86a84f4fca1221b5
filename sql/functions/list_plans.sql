create or replace function pgledger.list_plans() returns setof pgledger.plans
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select p.*
  from pgledger.plans p
  order by p.code collate "C";
end;

comment on function pgledger.list_plans() is
  'All plans, by their codes. Refuses nothing.';

revoke all on function pgledger.list_plans() from public;
