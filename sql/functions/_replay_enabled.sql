create or replace function pgledger._replay_enabled(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
begin
  select t.* into strict v_posted
  from pgledger.transactions t
  where t.account_id = request.account_id and t.key = request.key;

  if coalesce(request.amount = v_posted.amount, true)
    and coalesce(request.external_id = v_posted.external_id, true)
  then
    return pgledger._as_posting(v_posted, null, hot, true);
  end if;

  return pgledger._conflict(request, hot, v_posted, null);
end;
$$;

comment on function pgledger._replay_enabled(pgledger._request, pgledger.balances) is
  'The posted transaction of a pending one that was enabled before; LG002 when another amount or '
  'external_id is given now. Private.';

revoke all on function pgledger._replay_enabled(pgledger._request, pgledger.balances) from public;
