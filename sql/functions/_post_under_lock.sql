create or replace function pgledger._post_under_lock(request pgledger._request)
returns pgledger.posting
language plpgsql
as $$
begin
  perform pgledger._check_request(request);
  return pgledger._post_locked(request, pgledger._lock_balance(request.account_id));
end;
$$;

comment on function pgledger._post_under_lock(pgledger._request) is
  'The slow path: checks, locks in a statement of its own, then judges under the lock. Private.';

revoke all on function pgledger._post_under_lock(pgledger._request) from public;
