create or replace function pgledger._pending_status(
  status pgledger.pending_status, expires_at timestamptz, at timestamptz
) returns pgledger.pending_status
language sql immutable parallel safe
return case when status = 'PENDING' and expires_at <= at then 'EXPIRED' else status end;

comment on function pgledger._pending_status(pgledger.pending_status, timestamptz, timestamptz) is
  'What a pending transaction is at an instant: a hold is EXPIRED from its expires_at on, also '
  'while its row still says PENDING. Private.';

revoke all on function
  pgledger._pending_status(pgledger.pending_status, timestamptz, timestamptz) from public;
