create or replace function pgledger._forms_lot(request pgledger._request) returns boolean
language sql immutable parallel safe
return (request).amount > 0
  and ((request).credits_expire_at is not null or coalesce((request).priority, 0) <> 0);

comment on function pgledger._forms_lot(pgledger._request) is
  'Whether a movement is a credit with an expiry or a priority of its own. Private.';

revoke all on function pgledger._forms_lot(pgledger._request) from public;
