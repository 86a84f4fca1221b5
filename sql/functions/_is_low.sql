create or replace function pgledger._is_low(
  available bigint, change bigint, low_below bigint, top_up_below bigint
) returns boolean
language sql immutable parallel safe
return available < top_up_below
  or (available < low_below and available - change >= low_below);

comment on function pgledger._is_low(bigint, bigint, bigint, bigint) is
  'Whether a debit or hold that changed available leaves something to do: it is below the armed '
  'threshold, or this very change took it below the low-balance level. Null levels are none. '
  'Small enough for the planner to inline. Private.';

revoke all on function pgledger._is_low(bigint, bigint, bigint, bigint) from public;
