create or replace function pgledger._check_plan(plan pgledger.plans) returns void
language plpgsql
as $$
begin
  -- Short enough to be part of a key.
  if not coalesce(pgledger._is_label(plan.code) and length(plan.code) <= 200, false) then
    perform pgledger._reject('code', plan.code,
      'A code has 1 to 200 characters, none of them a control character.');
  end if;
  if not coalesce(plan.amount > 0, false) then
    perform pgledger._reject('amount', plan.amount::text,
      'A refill is a positive whole number of minor units.');
  end if;
  if plan.policy is null then
    perform pgledger._reject('policy', null, 'One of ADD, TOP_UP_TO, RESET.');
  end if;
  if plan.anchor is null then
    perform pgledger._reject('anchor', null, 'One of CALENDAR, ACCOUNT.');
  end if;
  perform pgledger._checked_period(plan.period, plan.anchor);
  perform pgledger._checked_time_zone(plan.time_zone);
  perform pgledger._check_labels(null, null, null, plan.metadata);
end;
$$;

comment on function pgledger._check_plan(pgledger.plans) is
  'Refuses (22023, 22004) terms that no account could be refilled by. Private.';

revoke all on function pgledger._check_plan(pgledger.plans) from public;
