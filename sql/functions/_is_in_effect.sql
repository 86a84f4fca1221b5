create or replace function pgledger._is_in_effect(
  status pgledger.return_status, policy pgledger.dispute_policy
) returns boolean
language sql immutable parallel safe
return status in ('PENDING', 'SUCCEEDED', 'LOST')
  or (status = 'OPEN' and policy = 'DEDUCT');

comment on function pgledger._is_in_effect(pgledger.return_status, pgledger.dispute_policy) is
  'Whether a refund or dispute takes credits: a refund unless it failed, a dispute that is lost, '
  'or open under DEDUCT. Small enough for the planner to inline. Private.';

revoke all on function
  pgledger._is_in_effect(pgledger.return_status, pgledger.dispute_policy) from public;
