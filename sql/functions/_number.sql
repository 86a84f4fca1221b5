create or replace function pgledger._number(given jsonb, quoted boolean) returns numeric
language sql immutable parallel safe
begin atomic
  select trim_scale(n.number)
  from (
    select case
      when jsonb_typeof(_number.given) = 'number' then _number.given::numeric
      -- No more than two digits of an exponent, so that nothing is too large to be looked at.
      when _number.quoted and length(_number.given #>> '{}') <= 100
        and _number.given #>> '{}' ~ '^([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]{1,2})?$'
      then (_number.given #>> '{}')::numeric
    end as number
  ) n
  where n.number >= 0 and n.number < 1e40 and scale(trim_scale(n.number)) <= 40;
end;

comment on function pgledger._number(jsonb, boolean) is
  'A price or quantity, or null when the value cannot be one: a JSON number, or its digits as a '
  'string where quoted, of 0 or more, with at most 40 digits on either side of the point. Private.';

revoke all on function pgledger._number(jsonb, boolean) from public;
