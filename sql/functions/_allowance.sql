create or replace function pgledger._allowance(account_id text, at timestamptz) returns bigint
language plpgsql stable
as $$
declare
  v_on pgledger.account_plans;
  v_plan pgledger.plans;
  v_anchor timestamptz;
  v_key text;
begin
  select n.* into v_on
  from pgledger._plan_now(_allowance.account_id, _allowance.at) n;
  select p.* into v_plan
  from pgledger.plans p
  where p.code = v_on.plan;

  v_anchor := pgledger._period_anchor(v_on, v_plan);
  v_key := pgledger._refill_key(v_plan, v_anchor, pgledger._period_number(
    v_plan.period, v_plan.time_zone, v_anchor, _allowance.at));
  return (
    select l.seq
    from pgledger.transactions t
    join pgledger.lots l on l.account_id = _allowance.account_id and l.seq = t.seq
    where t.account_id = _allowance.account_id and t.key = v_key);
end;
$$;

comment on function pgledger._allowance(text, timestamptz) is
  'The lot that its plan granted an account for the period that holds an instant; null where '
  'there is none: no plan, one that resets nothing, or not posted yet. Private.';

revoke all on function pgledger._allowance(text, timestamptz) from public;
