create or replace function pgledger._checked_lease(lease interval) returns interval
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(
    _checked_lease.lease > interval '0' and _checked_lease.lease <= interval '1 day', false)
  then
    perform pgledger._reject('lease', _checked_lease.lease::text, 'Above 0 and at most a day.');
  end if;
  return _checked_lease.lease;
end;
$$;

comment on function pgledger._checked_lease(interval) is
  'For how long a claim is nobody else''s, or 22023 (22004 for null) when that is not above 0 and '
  'at most a day. Private.';

revoke all on function pgledger._checked_lease(interval) from public;
