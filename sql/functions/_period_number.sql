create or replace function pgledger._period_number(
  period interval, time_zone text, anchor timestamptz, at timestamptz
) returns bigint
language plpgsql immutable parallel safe
as $$
declare
  v_from timestamp := pgledger._period_local(
    _period_number.period, _period_number.time_zone, _period_number.anchor, 0);
  v_to timestamp := _period_number.at at time zone _period_number.time_zone;
  v_months numeric := extract(year from period) * 12 + extract(month from period);
  v_number bigint;
begin
  -- By local time this is right but for one: compare the instants, from the one after it down.
  v_number := 1 + floor(case
    when v_months > 0 then
      ((extract(year from v_to) - extract(year from v_from)) * 12
        + extract(month from v_to) - extract(month from v_from)) / v_months
    else extract(epoch from v_to - v_from) / (extract(day from period) * 86400)
  end)::bigint;
  while pgledger._period_begin(
    _period_number.period, _period_number.time_zone, _period_number.anchor, v_number)
    > _period_number.at
  loop
    v_number := v_number - 1;
  end loop;
  return v_number;
end;
$$;

comment on function pgledger._period_number(interval, text, timestamptz, timestamptz) is
  'The number of the period that holds an instant: the last one that begins at it or before. Of '
  'periods that begin together, because the clocks skipped what was between, all but the last '
  'hold nothing. Private.';

revoke all on function
  pgledger._period_number(interval, text, timestamptz, timestamptz) from public;
