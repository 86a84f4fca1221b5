create or replace function pgledger._plan_now(account_id text, at timestamptz)
returns setof pgledger.account_plans
language sql stable
begin atomic
  select
    p.account_id,
    case when s.over then p.next_plan else p.plan end,
    case when s.over then p.refill_at else p.starts_at end,
    p.refill_at,
    case when s.over then null else p.next_plan end
  from pgledger.account_plans p
  cross join lateral (
    values (p.next_plan is not null and p.refill_at <= _plan_now.at)
  ) s (over)
  where p.account_id = _plan_now.account_id;
end;

comment on function pgledger._plan_now(text, timestamptz) is
  'The plan an account is on at an instant: where a change of plan fell due, the new one, begun '
  'when it did. refill_at is as recorded. Private.';

revoke all on function pgledger._plan_now(text, timestamptz) from public;
