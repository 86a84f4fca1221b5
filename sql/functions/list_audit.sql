create or replace function pgledger.list_audit(
  account_id text default null,
  act text default null,
  actor text default null,
  limit_count bigint default 100,
  before_at timestamptz default null,
  before_id uuid default null
) returns setof pgledger.audit_log
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_audit.limit_count);
  v_act text collate "default" := list_audit.act;
  v_actor text collate "default" := list_audit.actor;
  v_before_at timestamptz := coalesce(list_audit.before_at, 'infinity');
  v_before_id uuid :=
    coalesce(list_audit.before_id, '00000000-0000-0000-0000-000000000000');
begin
  if list_audit.account_id is null then
    return query
      select l.*
      from pgledger.audit_log l
      where (v_act is null or l.act = v_act)
        and (v_actor is null or l.actor = v_actor)
        and (l.created_at, l.id) < (v_before_at, v_before_id)
      order by l.created_at desc, l.id desc
      limit v_limit;
  else
    return query
      select l.*
      from pgledger.audit_log l
      where l.account_id = pgledger._checked_account(list_audit.account_id collate "default")
        and (v_act is null or l.act = v_act)
        and (v_actor is null or l.actor = v_actor)
        and (l.created_at, l.id) < (v_before_at, v_before_id)
      order by l.created_at desc, l.id desc
      limit v_limit;
  end if;
end;
$$;

comment on function pgledger.list_audit(text, text, text, bigint, timestamptz, uuid) is
  'Who did what by hand, newest first, limit_count of it (1 to 10000): on one account or anywhere, '
  'one act (the name of a function) or all, by one actor or all. The next page is what came '
  'before created_at and id of the last row, given as before_at and before_id. What concerns no '
  'single account, such as a price, has the empty account_id. Refuses with 22023 and 22004.';

revoke all on function
  pgledger.list_audit(text, text, text, bigint, timestamptz, uuid) from public;
