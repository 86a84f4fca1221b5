create or replace function pgledger._refills_due(account_id text, at timestamptz)
returns table (
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
  v_anchor := case when v_plan.anchor = 'ACCOUNT' then v_on.starts_at end;
  v_last := pgledger._period_number(v_plan.period, v_plan.time_zone, v_anchor, _refills_due.at);
  v_first := case
    when v_plan.policy = 'ADD' then pgledger._period_number(
      v_plan.period, v_plan.time_zone, v_anchor, v_on.refill_at)
    else v_last
  end;

  return query
    select greatest(p.begins_at, v_on.refill_at), p.key, v_plan.policy, v_plan.amount,
      case when v_plan.policy = 'RESET' then p.ends_at else 'infinity'::timestamptz end,
      jsonb_build_object(
        'plan', v_plan.code,
        'period_start', pgledger._utc(p.begins_at),
        'period_end', pgledger._utc(p.ends_at))
    from generate_series(v_first, v_last) n (number)
    cross join lateral (values (
      pgledger._refill_key(v_plan, v_anchor, n.number),
      pgledger._period_begin(v_plan.period, v_plan.time_zone, v_anchor, n.number),
      pgledger._period_begin(v_plan.period, v_plan.time_zone, v_anchor, n.number + 1)
    )) p (key, begins_at, ends_at)
    -- A period that the clocks skip whole is none.
    where p.begins_at < p.ends_at
      and not exists (
        select from pgledger.transactions t
        where t.account_id = _refills_due.account_id and t.key = p.key)
    order by n.number;
end;
$$;

comment on function pgledger._refills_due(text, timestamptz) is
  'The refills of an account that fell due up to and including an instant and are not posted yet, '
  'in order: of each period since under ADD, else of the current one only. amount is the plan''s, '
  'minor units; expires_at is the period''s end under RESET, else infinity. Private.';

revoke all on function pgledger._refills_due(text, timestamptz) from public;
