create or replace function pgledger._fits(
  head_lot bigint, head_left bigint, cap_left bigint, amount bigint, counts boolean
) returns boolean
language sql immutable parallel safe
return case
    when amount < 0 then head_left is null or head_left >= -amount
    else head_lot is null
  end
  and (cap_left is null or (counts and cap_left >= -amount));

comment on function pgledger._fits(bigint, bigint, bigint, bigint, boolean) is
  'Whether a movement can do without looking at lots and the cap''s period: a debit that the '
  'head alone pays, a credit to the pool while the pool is the head; under a spending cap only '
  'what counts towards it, and fits. Null columns are what the account does not have. Small '
  'enough for the planner to inline. Private.';

revoke all on function pgledger._fits(bigint, bigint, bigint, bigint, boolean) from public;
