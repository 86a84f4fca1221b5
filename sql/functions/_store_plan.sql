create or replace function pgledger._store_plan(
  account_id text, plan text, starts_at timestamptz, at_once boolean, at timestamptz
) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  -- What lies behind is not granted: the first refill is that of the period that holds now.
  insert into pgledger.account_plans as p (account_id, plan, starts_at, refill_at)
  values (
    _store_plan.account_id, _store_plan.plan,
    coalesce(_store_plan.starts_at, _store_plan.at),
    greatest(_store_plan.starts_at, _store_plan.at))
  on conflict (account_id) do nothing;

  if not found then
    update pgledger.account_plans p
    set next_plan = nullif(_store_plan.plan, p.plan)
    where p.account_id = _store_plan.account_id;

    if _store_plan.at_once then
      update pgledger.account_plans p
      set plan = p.next_plan, next_plan = null, starts_at = _store_plan.at,
          refill_at = _store_plan.at
      where p.account_id = _store_plan.account_id and p.next_plan is not null;
    end if;
  end if;
end;
$$;

comment on function pgledger._store_plan(text, text, timestamptz, boolean, timestamptz) is
  'Puts an account on a plan, under the lock of its balance row: at an instant where it is on no '
  'plan yet, or where at_once says so; else with its next refill. Its own plan again only drops a '
  'change that waits. What this makes due the caller settles. Private.';

revoke all on function
  pgledger._store_plan(text, text, timestamptz, boolean, timestamptz) from public;
