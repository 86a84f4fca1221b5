-- The fast path of a capture. The UPDATE of the balance row takes the lock with what the hold said
-- before; whether the hold is still open is then decided under the lock, by the clock read under
-- it, and if it is not, what the UPDATE did is taken back. What a hold says of its usage is that
-- of a capture of all of it; another amount is of other usage, which the caller gives, or of none.
create or replace function pgledger._capture(
  account_id text, key text, amount bigint, usage jsonb
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_held bigint;
  v_type pgledger.transaction_type;
  v_reference text;
  v_external_id text;
  v_metadata jsonb;
  v_lot bigint;
  v_usage jsonb;
  v_amount bigint;
  v_balance bigint;
  v_available bigint;
  v_seq bigint;
  v_created_at timestamptz;
  v_is_low boolean;
  v_answer pgledger.posting;
begin
  select -p.amount, p.type, p.reference, p.external_id, p.metadata, p.lot,
    coalesce(_capture.usage, case when _capture.amount < -p.amount then null else p.usage end)
  into v_held, v_type, v_reference, v_external_id, v_metadata, v_lot, v_usage
  from pgledger.pending_transactions p
  where p.account_id = _capture.account_id and p.key = _capture.key
    and p.status = 'PENDING' and p.amount < 0 and (p.lot > 0 or p.lot is null);
  if not found then return null; end if;
  v_amount := coalesce(-_capture.amount, -v_held);
  if v_amount < -v_held then return null; end if;

  update pgledger.balances b
  set balance = b.balance + v_amount, seq = b.seq + 1, updated_at = greatest(b.updated_at, v_now),
      held = b.held - v_held,
      pool = b.pool + case when v_lot is null then v_amount else 0 end,
      held_in_lots = b.held_in_lots - case when v_lot is null then 0 else v_held end,
      head_left = b.head_left + (v_held + v_amount),
      cap_left = b.cap_left + case when v_type = 'USAGE' then v_amount else 0 end
  where b.account_id = _capture.account_id and b.attention_at > greatest(b.updated_at, v_now)
    and b.held >= v_held and coalesce(b.cap_left, 0) >= 0
    -- What is not captured goes back to the head, or else the slow way finds where.
    and (v_amount = -v_held or b.head_lot is not distinct from v_lot)
  returning b.balance, b.balance - b.held, b.seq, b.updated_at, pgledger._is_low(
    b.balance - b.held, v_amount + v_held, b.low_below, b.top_up_below)
  into v_balance, v_available, v_seq, v_created_at, v_is_low;
  if not found then return null; end if;

  v_now := clock_timestamp();
  update pgledger.pending_transactions p set status = 'ENABLED', settled_at = v_now
  where p.account_id = _capture.account_id and p.key = _capture.key
    and p.status = 'PENDING' and (p.expires_at > v_now or p.expires_at is null);
  if not found then
    perform pgledger._take_back_capture(
      _capture.account_id, v_amount, v_held, v_lot, v_type = 'USAGE');
    return null;
  end if;

  insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at, type,
    key, reference, external_id, metadata, lot, usage)
  values (_capture.account_id, v_seq, v_amount, v_balance, v_created_at, v_type, _capture.key,
    v_reference, v_external_id, v_metadata, v_lot, v_usage);

  v_answer := row(_capture.account_id, _capture.key, v_seq, v_type, v_amount, v_amount, v_balance,
    v_balance, v_available, 'POSTED', false, null, v_created_at, null)::pgledger.posting;
  return case when v_is_low
    then pgledger._watched(v_answer, v_amount + v_held, v_reference) else v_answer end;
end;
$$;

comment on function pgledger._capture(text, text, bigint, jsonb) is
  'Captures an open hold, of amount > 0 or whole, when nothing is in the way, else null and '
  'nothing done. Private.';

revoke all on function pgledger._capture(text, text, bigint, jsonb) from public;
