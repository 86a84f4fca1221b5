create or replace function pgledger._decline(
  charge pgledger.charges, pending pgledger.pending_transactions, hot pgledger.balances,
  told jsonb, give_up boolean
) returns pgledger.charges
language plpgsql
as $$
#variable_conflict use_column
declare
  v_charge pgledger.charges := charge;
  v_awaited boolean;
  v_enabled boolean;
begin
  -- Settings that changed meanwhile do not ask for this one any more: it is not tried again, and
  -- they are not switched off for it.
  select coalesce(s.waiting_for = charge.key, false) into v_awaited
  from pgledger.auto_top_ups s
  where s.account_id = charge.account_id;

  v_charge.declines := charge.declines + 1;
  v_charge.claims := 0;
  v_charge.reason := told ->> 'reason';
  v_charge.due_at := hot.updated_at + case when v_awaited and not _decline.give_up
    then pgledger._decline_pause(v_charge.declines) end;
  update pgledger.charges c
  set declines = v_charge.declines, claims = 0, reason = v_charge.reason, due_at = v_charge.due_at
  where c.account_id = charge.account_id and c.key = charge.key;

  if v_charge.due_at is null then
    perform pgledger._cancel(pending, hot, v_charge.reason);
    if v_awaited then
      perform pgledger._switch_off(charge.account_id);
    end if;
    select coalesce(bool_or(s.enabled), false) into v_enabled
    from pgledger.auto_top_ups s
    where s.account_id = charge.account_id;
  end if;

  perform pgledger._emit(charge.account_id, 'top_up_failed', array[
    told || jsonb_build_object(
      'key', charge.key,
      'amount', pending.amount,
      'declines', v_charge.declines,
      'final', v_charge.due_at is null)
    || case when v_charge.due_at is null
      then jsonb_build_object('auto_top_up', case when v_enabled then 'enabled' else 'disabled' end)
      else jsonb_build_object('next_attempt_at', pgledger._utc(v_charge.due_at)) end]);
  return v_charge;
end;
$$;

comment on function pgledger._decline(
  pgledger.charges, pgledger.pending_transactions, pgledger.balances, jsonb, boolean) is
  'Counts a decline of an open auto-top-up: puts it off, or the last time cancels it and switches '
  'the auto-top-up off; tells the outbox. The charge after that. Only under the lock of the '
  'balance row. Private.';

revoke all on function pgledger._decline(
  pgledger.charges, pgledger.pending_transactions, pgledger.balances, jsonb, boolean) from public;
