-- A local time that the clocks skip is read as if they had not been put forward yet. Of one that
-- comes twice the server takes the second; a period begins with the first, which is found by the
-- offset of a day before. Hours only: a day of a timestamptz is one of the session's time zone.
create or replace function pgledger._period_begin(
  period interval, time_zone text, anchor timestamptz, number bigint
) returns timestamptz
language plpgsql immutable parallel safe
as $$
declare
  v_local timestamp := pgledger._period_local(
    _period_begin.period, _period_begin.time_zone, _period_begin.anchor, _period_begin.number);
  v_begin timestamptz := v_local at time zone _period_begin.time_zone;
  v_day_before timestamptz := v_begin - interval '24 hours';
  v_first timestamptz;
begin
  -- An anchor may itself be the second of two that read alike.
  if _period_begin.number = 0 and _period_begin.anchor is not null then
    return _period_begin.anchor;
  end if;

  v_first := (v_local
    - (v_day_before at time zone _period_begin.time_zone - v_day_before at time zone 'UTC')
  ) at time zone 'UTC';
  return case
    when v_first at time zone _period_begin.time_zone = v_local then v_first
    else v_begin
  end;
end;
$$;

comment on function pgledger._period_begin(interval, text, timestamptz, bigint) is
  'The instant at which the numbered period begins in a time zone: 0 at the anchor, or with '
  '1 January 2001 where there is none. Private.';

revoke all on function pgledger._period_begin(interval, text, timestamptz, bigint) from public;
