-- Neither side may overflow, whatever the bigints: a difference is taken only between operands of
-- one sign, and a sum (floor <= 0 <= held) only between operands of opposite signs.
create or replace function pgledger._allows(
  balance bigint, held bigint, floor bigint, amount bigint
) returns boolean
language sql immutable parallel safe
return case
  when amount > 0 then balance <= 9223372036854775807 - amount
  when balance >= 0 then balance + amount >= floor + held
  else balance - least(floor + held, 0) >= -amount
end;

comment on function pgledger._allows(bigint, bigint, bigint, bigint) is
  'Whether a balance allows a movement over the whole range of bigint but its lowest: a credit '
  'must not overflow it, a debit must leave balance - held at or above the floor. Small enough '
  'for the planner to inline. Private.';

revoke all on function pgledger._allows(bigint, bigint, bigint, bigint) from public;
