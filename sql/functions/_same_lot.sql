create or replace function pgledger._same_lot(
  request pgledger._request, posted pgledger.transactions, pending pgledger.pending_transactions
) returns boolean
language plpgsql stable
as $$
declare
  v_expires_at timestamptz := pending.credits_expire_at;
  v_priority integer := pending.priority;
begin
  if pending.key is null and posted.amount > 0 then
    select nullif(l.granted_expires_at, 'infinity'), l.priority into v_expires_at, v_priority
    from pgledger.lots l
    where l.account_id = posted.account_id and l.seq = posted.seq;
  end if;
  return request.credits_expire_at is not distinct from v_expires_at
    and coalesce(request.priority, 0) = coalesce(v_priority, 0);
end;
$$;

comment on function pgledger._same_lot(
  pgledger._request, pgledger.transactions, pgledger.pending_transactions) is
  'Whether a credit asks for the expiry and the priority that the recorded one was granted '
  'with. Private.';

revoke all on function pgledger._same_lot(
  pgledger._request, pgledger.transactions, pgledger.pending_transactions) from public;
