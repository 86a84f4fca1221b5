create or replace function pgledger._replay(request pgledger._request, hot pgledger.balances)
returns pgledger.posting
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
  v_pending pgledger.pending_transactions;
begin
  if request.key is not null then
    select t.* into v_posted
    from pgledger.transactions t
    where t.account_id = request.account_id and t.key = request.key;

    select p.* into v_pending
    from pgledger.pending_transactions p
    where p.account_id = request.account_id and p.key = request.key;
    v_pending.status :=
      pgledger._pending_status(v_pending.status, v_pending.expires_at, hot.updated_at);
  end if;

  if v_posted.seq is null and v_pending.key is null then
    return pgledger._replay_external_id(request, hot);
  end if;

  -- An announcement that was enabled is still repeated as the announcement it was.
  if request.announced = (v_pending.key is not null)
    and request.type = coalesce(v_pending.type, v_posted.type)
    and pgledger._usage_told(request.usage) is not distinct from pgledger._usage_told(
      case when v_pending.key is null then v_posted.usage else v_pending.usage end)
    -- The same usage is the same call: what it costs may have changed since.
    and (request.usage is not null or request.amount = coalesce(
      v_pending.requested_amount, v_pending.amount, v_posted.requested_amount, v_posted.amount))
    and request.original_seq is not distinct from v_posted.original_seq
    and request.counterparty is not distinct from v_posted.counterparty
    and request.expires_at is not distinct from v_pending.expires_at
    and pgledger._same_lot(request, v_posted, v_pending)
    and (
      request.external_id is null
      or coalesce(v_posted.external_id, v_pending.external_id) is null
      or request.external_id in (v_posted.external_id, v_pending.external_id))
  then
    return pgledger._as_replay(v_posted, v_pending, hot);
  end if;

  return pgledger._conflict(request, hot, v_posted, v_pending);
end;
$$;

comment on function pgledger._replay(pgledger._request, pgledger.balances) is
  'The original of a repeated key or external_id; LG002 when that was for something else; null '
  'when this is new. Only under the lock of the balance row. Private.';

revoke all on function pgledger._replay(pgledger._request, pgledger.balances) from public;
