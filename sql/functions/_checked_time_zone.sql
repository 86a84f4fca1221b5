create or replace function pgledger._checked_time_zone(time_zone text) returns text
language plpgsql stable
as $$
begin
  if not exists (
    select from pg_catalog.pg_timezone_names z
    where z.name = _checked_time_zone.time_zone collate "default"
  ) then
    perform pgledger._reject('time_zone', _checked_time_zone.time_zone,
      'Use a name of pg_timezone_names, such as UTC or Europe/Berlin.');
  end if;
  return _checked_time_zone.time_zone;
end;
$$;

comment on function pgledger._checked_time_zone(text) is
  'The time zone, or 22023 (22004 for null) when it is not the name of one: abbreviations and '
  'offsets know no summer time. Private.';

revoke all on function pgledger._checked_time_zone(text) from public;
