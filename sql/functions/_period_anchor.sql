create or replace function pgledger._period_anchor(
  assignment pgledger.account_plans, plan pgledger.plans
) returns timestamptz
language sql immutable parallel safe
return case when (plan).anchor = 'ACCOUNT' then (assignment).starts_at end;

comment on function pgledger._period_anchor(pgledger.account_plans, pgledger.plans) is
  'Where the periods of a plan are counted from on an account; null: by the calendar. Private.';

revoke all on function pgledger._period_anchor(pgledger.account_plans, pgledger.plans) from public;
