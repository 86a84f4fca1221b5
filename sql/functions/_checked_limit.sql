create or replace function pgledger._checked_limit(limit_count bigint) returns bigint
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(_checked_limit.limit_count between 1 and 10000, false) then
    perform pgledger._reject('limit_count', _checked_limit.limit_count::text,
      'A page has 1 to 10000 rows; continue with before_seq.');
  end if;
  return _checked_limit.limit_count;
end;
$$;

comment on function pgledger._checked_limit(bigint) is
  'The page size, or 22023 (22004 for null) when it is not within 1 and 10000. Private.';

revoke all on function pgledger._checked_limit(bigint) from public;
