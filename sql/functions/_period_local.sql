create or replace function pgledger._period_local(
  period interval, time_zone text, anchor timestamptz, number bigint
) returns timestamp
language sql immutable parallel safe
begin atomic
  -- 1 January 2001 was a Monday: a day, a week, a month, a quarter and a year begin with it.
  select coalesce(
      _period_local.anchor at time zone _period_local.time_zone, timestamp '2001-01-01')
    + _period_local.period * _period_local.number::double precision;
end;

comment on function pgledger._period_local(interval, text, timestamptz, bigint) is
  'The local time at which the numbered period begins, always counted from the anchor, so that '
  '31 January leads to 31 March; without an anchor, from the calendar. Private.';

revoke all on function pgledger._period_local(interval, text, timestamptz, bigint) from public;
