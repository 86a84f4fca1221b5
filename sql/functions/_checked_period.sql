-- By its fields: PostgreSQL takes a month for equal to 30 days.
create or replace function pgledger._checked_period(
  period interval, anchor pgledger.plan_anchor
) returns interval
language plpgsql immutable
as $$
declare
  v_months numeric := extract(year from period) * 12 + extract(month from period);
  v_days numeric := extract(day from period);
  v_seconds numeric := extract(hour from period) * 3600 + extract(minute from period) * 60
    + extract(second from period);
begin
  if _checked_period.anchor = 'CALENDAR'
    and not coalesce((v_months, v_days, v_seconds) in (
      (0, 1, 0), (0, 7, 0), (1, 0, 0), (3, 0, 0), (12, 0, 0)), false)
  then
    perform pgledger._reject('period', _checked_period.period::text,
      'A period of the calendar is 1 day, 7 days, 1 month, 3 months or 12 months.');
  end if;
  if not coalesce(v_seconds = 0 and (
    v_months = 0 and v_days between 1 and 36525
    or v_days = 0 and v_months between 1 and 1200), false)
  then
    perform pgledger._reject('period', _checked_period.period::text,
      'A period is whole days or whole months, up to 100 years.');
  end if;
  return _checked_period.period;
end;
$$;

comment on function pgledger._checked_period(interval, pgledger.plan_anchor) is
  'The period, or 22023 (22004 for null) when accounts cannot be refilled, or caps reset, by it. '
  'Private.';

revoke all on function pgledger._checked_period(interval, pgledger.plan_anchor) from public;
