create or replace function pgledger._replay_external_id(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
  v_pending pgledger.pending_transactions;
begin
  if request.external_id is null then
    return null;
  end if;

  select t.* into v_posted
  from pgledger.transactions t
  where t.account_id = request.account_id
    and t.external_id = request.external_id
    and (t.amount > 0) = (request.amount > 0);

  if not found then
    select p.* into v_pending
    from pgledger.pending_transactions p
    where p.account_id = request.account_id
      and p.external_id = request.external_id
      and (p.amount > 0) = (request.amount > 0)
      and p.key is distinct from request.key;

    if not found then
      return null;
    end if;

    select t.* into v_posted
    from pgledger.transactions t
    where t.account_id = request.account_id and t.key = v_pending.key;
  end if;

  -- Money that arrived must not be answered with an announcement that is still waiting for it.
  if (request.announced or v_posted.seq is not null)
    and request.original_seq is not distinct from v_posted.original_seq
    and request.amount = coalesce(
      v_posted.requested_amount, v_posted.amount, v_pending.requested_amount, v_pending.amount)
  then
    return pgledger._as_replay(v_posted, v_pending, hot);
  end if;

  return pgledger._conflict(request, hot, v_posted, v_pending);
end;
$$;

comment on function pgledger._replay_external_id(pgledger._request, pgledger.balances) is
  'The original of an external_id that had its effect under another key, in the same direction; '
  'LG002 when the amount differs or the original still waits to be enabled; null when it is new. '
  'Only under the lock of the balance row. Private.';

revoke all on function
  pgledger._replay_external_id(pgledger._request, pgledger.balances) from public;
