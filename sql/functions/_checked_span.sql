create or replace function pgledger._checked_span(parameter text, span interval) returns interval
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(
    _checked_span.span > interval '0' and _checked_span.span <= interval '100 years', false)
  then
    perform pgledger._reject(_checked_span.parameter, _checked_span.span::text,
      'A time above 0, and at most 100 years.');
  end if;
  return _checked_span.span;
end;
$$;

comment on function pgledger._checked_span(text, interval) is
  'The time span of a parameter, or 22023 (22004 for null) when it is not above 0 and at most '
  '100 years. Private.';

revoke all on function pgledger._checked_span(text, interval) from public;
