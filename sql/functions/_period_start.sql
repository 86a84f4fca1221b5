create or replace function pgledger._period_start(
  period interval, time_zone text, anchor timestamptz, at timestamptz
) returns timestamptz
language sql immutable parallel safe
begin atomic
  select pgledger._period_begin(
    _period_start.period, _period_start.time_zone, _period_start.anchor,
    pgledger._period_number(
      _period_start.period, _period_start.time_zone, _period_start.anchor, _period_start.at));
end;

comment on function pgledger._period_start(interval, text, timestamptz, timestamptz) is
  'When the period began that holds an instant; counted in local time from the anchor, or where '
  'it is null from the calendar, in which weeks begin on Monday. Private.';

revoke all on function
  pgledger._period_start(interval, text, timestamptz, timestamptz) from public;
