create or replace function pgledger._number(given jsonb, quoted boolean) returns numeric
language plpgsql immutable parallel safe
as $$
declare
  v_number numeric;
  v_text text;
begin
  if jsonb_typeof(_number.given) = 'number' then
    v_number := _number.given::numeric;
  elsif _number.quoted then
    v_text := _number.given #>> '{}';
    -- No more than two digits of an exponent, so that nothing is too large to be looked at.
    if length(v_text) <= 100
      and v_text ~ '^([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]{1,2})?$'
    then
      v_number := v_text::numeric;
    end if;
  end if;
  v_number := trim_scale(v_number);
  return case when v_number >= 0 and v_number < 1e40 and scale(v_number) <= 40 then v_number end;
end;
$$;

comment on function pgledger._number(jsonb, boolean) is
  'A price or quantity, or null when the value cannot be one: a JSON number, or its digits as a '
  'string where quoted, of 0 or more, with at most 40 digits on either side of the point. Private.';

revoke all on function pgledger._number(jsonb, boolean) from public;
