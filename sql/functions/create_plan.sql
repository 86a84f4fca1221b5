create or replace function pgledger.create_plan(
  code text,
  amount bigint,
  period interval,
  policy pgledger.refill_policy,
  anchor pgledger.plan_anchor default 'CALENDAR',
  time_zone text default 'UTC',
  metadata jsonb default null,
  actor text default null
) returns pgledger.plans
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_given pgledger.plans;
  v_recorded pgledger.plans;
  v_terms jsonb;
  v_others jsonb;
begin
  v_given.code := create_plan.code;
  v_given.amount := create_plan.amount;
  v_given.period := create_plan.period;
  v_given.policy := create_plan.policy;
  v_given.anchor := create_plan.anchor;
  v_given.time_zone := create_plan.time_zone;
  v_given.metadata := coalesce(create_plan.metadata, '{}');
  perform pgledger._check_plan(v_given);

  insert into pgledger.plans (code, amount, period, policy, anchor, time_zone, metadata)
  values (
    v_given.code, v_given.amount, v_given.period, v_given.policy, v_given.anchor,
    v_given.time_zone, v_given.metadata)
  on conflict (code) do nothing;
  if found then
    perform pgledger._audit(null, 'create_plan', create_plan.actor collate "default",
      to_jsonb(v_given) - array['metadata', 'created_at']);
  end if;

  select p.* into strict v_recorded
  from pgledger.plans p
  where p.code = create_plan.code collate "default";

  -- As texts: a month is no term of 30 days, though the two intervals are equal.
  v_terms := to_jsonb(v_recorded) - array['metadata', 'created_at'];
  v_others := to_jsonb(v_given) - array['metadata', 'created_at'];
  if v_terms <> v_others then
    raise exception using
      errcode = 'LG002',
      message = 'idempotency conflict',
      detail = jsonb_build_object(
        'plan', create_plan.code, 'recorded', v_terms, 'given', v_others)::text,
      hint = 'A plan is never changed: give other terms another code.';
  end if;
  return v_recorded;
end;
$$;

comment on function pgledger.create_plan(
  text, bigint, interval, pgledger.refill_policy, pgledger.plan_anchor, text, jsonb, text) is
  'Records a plan and answers with it. code is 1 to 200 characters; amount > 0 in minor units is '
  'granted each period (ADD), filled up to (TOP_UP_TO), or granted as a lot that expires with the '
  'period (RESET). Periods of the CALENDAR in time_zone are 1 day, 7 days (from Monday), 1, 3 or '
  '12 months; with anchor ACCOUNT they are any whole days or months, from where the account began. '
  'A plan is never changed: a repeat changes nothing and answers with what is recorded, LG002 when '
  'its terms (all but metadata) differ. Kept in the audit log, as done by actor. Refuses with '
  'LG002, 22023 and 22004.';

revoke all on function pgledger.create_plan(
  text, bigint, interval, pgledger.refill_policy, pgledger.plan_anchor, text, jsonb, text)
  from public;
