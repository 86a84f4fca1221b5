-- Neither side may overflow, whatever the bigints: a difference is taken only between operands of
-- one sign, and a sum (floor <= 0 <= held) only between operands of opposite signs.
create or replace function pgledger._covers(balance bigint, held bigint, floor bigint, debit bigint)
returns boolean
language sql immutable parallel safe
return case
  when balance >= 0 then balance - debit >= floor + held
  else balance - least(floor + held, 0) >= debit
end;

comment on function pgledger._covers(bigint, bigint, bigint, bigint) is
  'Whether balance - held - debit >= floor, for debit > 0, over the whole range of bigint. '
  'Small enough for the planner to inline. Private.';

revoke all on function pgledger._covers(bigint, bigint, bigint, bigint) from public;
