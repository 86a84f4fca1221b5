create or replace function pgledger._period_end(
  period interval, time_zone text, anchor timestamptz, at timestamptz
) returns timestamptz
language sql immutable parallel safe
begin atomic
  select pgledger._period_begin(
    _period_end.period, _period_end.time_zone, _period_end.anchor,
    pgledger._period_number(
      _period_end.period, _period_end.time_zone, _period_end.anchor, _period_end.at) + 1);
end;

comment on function pgledger._period_end(interval, text, timestamptz, timestamptz) is
  'When the period ends that holds an instant: always after it, and where the next one begins. '
  'Private.';

revoke all on function pgledger._period_end(interval, text, timestamptz, timestamptz) from public;
