create or replace function pgledger._refills_due(
  account_id text, at timestamptz, owes boolean
) returns table (
  due_at timestamptz,
  key text,
  policy pgledger.refill_policy,
  amount bigint,
  expires_at timestamptz,
  metadata jsonb
)
language plpgsql stable
as $$
declare
  v_on pgledger.account_plans;
  v_plan pgledger.plans;
  v_anchor timestamptz;
  v_first bigint;
  v_last bigint;
  v_begins_at timestamptz;
  v_ends_at timestamptz;
begin
  select n.* into v_on
  from pgledger._plan_now(_refills_due.account_id, _refills_due.at) n
  where n.refill_at <= _refills_due.at;
  if not found then
    return;
  end if;

  select p.* into strict v_plan
  from pgledger.plans p
  where p.code = v_on.plan;
  v_anchor := pgledger._period_anchor(v_on, v_plan);
  v_last := pgledger._period_number(v_plan.period, v_plan.time_zone, v_anchor, _refills_due.at);
  v_first := case
    when v_plan.policy = 'TOP_UP_TO' or (v_plan.policy = 'RESET' and not _refills_due.owes)
    then v_last
    else pgledger._period_number(
      v_plan.period, v_plan.time_zone, v_anchor, v_on.refill_at)
  end;

  for v_number in v_first::integer..v_last::integer loop
    v_begins_at := pgledger._period_begin(v_plan.period, v_plan.time_zone, v_anchor, v_number);
    v_ends_at := pgledger._period_begin(v_plan.period, v_plan.time_zone, v_anchor, v_number + 1);
    _refills_due.key := pgledger._refill_key(v_plan, v_anchor, v_number);
    -- A period that the clocks skip whole is none.
    continue when v_begins_at >= v_ends_at or exists (
      select from pgledger.transactions t
      where t.account_id = _refills_due.account_id and t.key = _refills_due.key);

    _refills_due.due_at := greatest(v_begins_at, v_on.refill_at);
    _refills_due.policy := v_plan.policy;
    _refills_due.amount := v_plan.amount;
    _refills_due.expires_at :=
      case when v_plan.policy = 'RESET' then v_ends_at else 'infinity'::timestamptz end;
    _refills_due.metadata := jsonb_build_object(
      'plan', v_plan.code,
      'period_start', pgledger._utc(v_begins_at),
      'period_end', pgledger._utc(v_ends_at));
    return next;
  end loop;
end;
$$;

comment on function pgledger._refills_due(text, timestamptz, boolean) is
  'The refills of an account that fell due up to and including an instant and are not posted '
  'yet, in order: under ADD of each period since, and under RESET too where the pool owes, for '
  'what is left of a period that is over is the debt that it paid (see _due); else of the '
  'current one only. amount is the plan''s, minor units; expires_at is the period''s end under '
  'RESET, else infinity. Private.';

revoke all on function pgledger._refills_due(text, timestamptz, boolean) from public;
