create or replace function pgledger._replay_usage(
  request pgledger._request, hot pgledger.balances, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_pending pgledger.pending_transactions := pending;
  v_posted pgledger.transactions;
  v_usage jsonb;
begin
  if pending.status = 'ENABLED' then
    select t.* into strict v_posted
    from pgledger.transactions t
    where t.account_id = request.account_id and t.key = request.key;
    v_usage := v_posted.usage;
  elsif pending.usage ? 'used' then
    v_usage := pending.usage -> 'used';
  else
    return pgledger._refuse_settled(request, hot);
  end if;

  if pgledger._usage_told(v_usage) = pgledger._usage_told(request.usage) then
    return pgledger._as_posting(v_posted, pending, hot, true);
  end if;
  -- What is shown as recorded is what was charged, not the estimate.
  v_pending.usage := v_usage;
  return pgledger._conflict(request, hot, v_posted, v_pending);
end;
$$;

comment on function pgledger._replay_usage(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) is
  'What became of a hold of usage that was settled, where it was of the same usage; LG002 where '
  'it was of another, LG007 where it was released or has expired. Private.';

revoke all on function pgledger._replay_usage(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) from public;
