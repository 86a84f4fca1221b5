create or replace function pgledger._rounded(exact numeric, rounding pgledger.price_rounding)
returns numeric
language sql immutable parallel safe
return case rounding
  when 'CEIL' then ceil(exact)
  when 'FLOOR' then floor(exact)
  -- round() takes a half up; one too many is one that is odd.
  else round(exact) - case when exact - trunc(exact) = 0.5 then mod(round(exact), 2) else 0 end
end;

comment on function pgledger._rounded(numeric, pgledger.price_rounding) is
  'An exact cost, 0 or more, in whole minor units. Private.';

revoke all on function pgledger._rounded(numeric, pgledger.price_rounding) from public;
