create or replace function pgledger.get_plan(account_id text)
returns table (
  plan text,
  policy pgledger.refill_policy,
  amount bigint,
  period interval,
  anchor pgledger.plan_anchor,
  time_zone text,
  starts_at timestamptz,
  refill_at timestamptz,
  next_plan text,
  allowance_left bigint
)
language plpgsql stable rows 1 security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := statement_timestamp();
  v_account text collate "default" := pgledger._checked_account(get_plan.account_id);
  v_on pgledger.account_plans;
  v_plan pgledger.plans;
begin
  select n.* into v_on
  from pgledger._plan_now(v_account, v_now) n;
  if not found then
    return;
  end if;

  select p.* into strict v_plan
  from pgledger.plans p
  where p.code = v_on.plan;
  if v_on.refill_at <= v_now then
    v_on.refill_at := pgledger._period_end(v_plan.period, v_plan.time_zone,
      pgledger._period_anchor(v_on, v_plan), v_now);
  end if;

  return query select v_on.plan, v_plan.policy, v_plan.amount, v_plan.period, v_plan.anchor,
    v_plan.time_zone, v_on.starts_at, v_on.refill_at, v_on.next_plan,
    pgledger._allowance_left(v_account, v_now);
end;
$$;

comment on function pgledger.get_plan(text) is
  'The plan an account is on now, its terms and what comes next: refill_at, and next_plan where a '
  'change waits for that. allowance_left is what remains of the allowance of this period, minor '
  'units, null but for RESET. No row when on no plan. What is due counts. Refuses with 22023 and '
  '22004.';

revoke all on function pgledger.get_plan(text) from public;
