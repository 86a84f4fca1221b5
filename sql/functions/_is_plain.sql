create or replace function pgledger._is_plain(
  shortfall text, external_id text, ceiling_balance bigint, credits_expire_at timestamptz,
  priority integer
) returns boolean
language sql immutable parallel safe
return shortfall in ('REFUSE', 'PARTIAL', 'DEBT')
  and external_id is null and ceiling_balance is null
  and credits_expire_at is null and coalesce(priority, 0) = 0;

comment on function pgledger._is_plain(text, text, bigint, timestamptz, integer) is
  'Whether a movement asks for nothing but what the fast path knows; the rest is judged under the '
  'lock. Small enough for the planner to inline. Private.';

revoke all on function pgledger._is_plain(text, text, bigint, timestamptz, integer) from public;
