create or replace function pgledger.defer_top_up(
  account_id text,
  key text,
  attempt bigint,
  pause interval default '5 minutes',
  reason text default null
) returns pgledger.charge
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_request pgledger._request := pgledger._settlement(
    defer_top_up.account_id collate "default", defer_top_up.key collate "default", true);
  v_pause interval := pgledger._checked_span('pause', defer_top_up.pause);
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_charge pgledger.charges;
  v_due_at timestamptz;
begin
  perform pgledger._check_reason(defer_top_up.reason);

  v_hot := pgledger._lock_balance(v_request.account_id);
  v_charge := pgledger._charge_by_key(v_hot, v_request.key, defer_top_up.attempt);
  v_pending := pgledger._pending_by_key(v_hot, v_request.key, false);
  -- What nobody has claimed waits out its pause.
  if v_pending.status <> 'PENDING' or defer_top_up.attempt < v_charge.declines
    or v_charge.claims = 0
  then
    return pgledger._as_charge(v_pending, v_charge, true);
  end if;

  v_due_at := v_hot.updated_at + v_pause;
  update pgledger.charges c
  set due_at = v_due_at, reason = defer_top_up.reason
  where c.account_id = v_charge.account_id and c.key = v_charge.key
  returning c.* into strict v_charge;
  return pgledger._as_charge(v_pending, v_charge, false);
end;
$$;

comment on function pgledger.defer_top_up(text, text, bigint, interval, text) is
  'Says that what came of charging an auto-top-up is not known yet, at the attempt that its claim '
  'told (the provider is still processing it, or could not be reached): it may be claimed again '
  'after pause (above 0, at most 100 years), earlier or later than its lease, as the same attempt. '
  'An attempt that was declined or that nobody has claimed, and a top-up that was settled, are '
  'answered as they are. Refuses with LG006, 22023 and 22004.';

revoke all on function pgledger.defer_top_up(text, text, bigint, interval, text) from public;
