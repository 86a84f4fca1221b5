create or replace function pgledger._require_unused(
  request pgledger._request, hot pgledger.balances
) returns void
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
  v_pending pgledger.pending_transactions;
begin
  select t.* into v_posted
  from pgledger.transactions t
  where t.account_id = request.account_id and t.key = request.key;
  select p.* into v_pending
  from pgledger.pending_transactions p
  where p.account_id = request.account_id and p.key = request.key;

  if v_posted.seq is not null or v_pending.key is not null then
    perform pgledger._conflict(request, hot, v_posted, v_pending);
  end if;
end;
$$;

comment on function pgledger._require_unused(pgledger._request, pgledger.balances) is
  'Refuses with LG002 a key under which something is posted or announced already. Only under the '
  'lock of the balance row. Private.';

revoke all on function
  pgledger._require_unused(pgledger._request, pgledger.balances) from public;
