create or replace function pgledger._advance_plan(account_id text, at timestamptz) returns void
language plpgsql
as $$
declare
  v_on pgledger.account_plans;
  v_plan pgledger.plans;
  v_refill_at timestamptz;
begin
  select n.* into v_on
  from pgledger._plan_now(_advance_plan.account_id, _advance_plan.at) n
  where n.refill_at <= _advance_plan.at;
  if not found then
    return;
  end if;

  select p.* into strict v_plan
  from pgledger.plans p
  where p.code = v_on.plan;
  v_refill_at := pgledger._period_end(
    v_plan.period, v_plan.time_zone, pgledger._period_anchor(v_on, v_plan), _advance_plan.at);

  update pgledger.account_plans p
  set plan = v_on.plan, starts_at = v_on.starts_at, next_plan = v_on.next_plan,
      refill_at = v_refill_at
  where p.account_id = _advance_plan.account_id;
end;
$$;

comment on function pgledger._advance_plan(text, timestamptz) is
  'Moves an account''s plan on, after what _refills_due() told up to that instant was posted: a '
  'change that fell due is made, and the next refill is that of the period after. Only under the '
  'lock of the balance row. Private.';

revoke all on function pgledger._advance_plan(text, timestamptz) from public;
