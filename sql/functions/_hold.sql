-- The fast path of a hold, as _post is that of a posting: one guarded UPDATE decides and only adds,
-- so that it can be taken back when the key turns out to be taken.
create or replace function pgledger._hold(
  account_id text, amount bigint, key text, expires_at timestamptz, reference text,
  metadata jsonb, raise_refusals boolean, usage jsonb
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_key text := _hold.key;
  v_balance bigint;
  v_available bigint;
  v_lot bigint;
  v_is_low boolean;
  v_answer pgledger.posting;
  v_request pgledger._request;
begin
  <<try>>
  begin
    if _hold.key is not null then exit try when not pgledger._is_key(_hold.key); end if;
    if _hold.reference is not null or _hold.metadata is not null then
      exit try when not (
        pgledger._is_label(_hold.reference) and pgledger._is_metadata(_hold.metadata));
    end if;
    exit try when not (_hold.expires_at > v_now and _hold.expires_at < 'infinity');
    update pgledger.balances b
    set held = b.held + _hold.amount, pending_rows = b.pending_rows + 1,
        attention_at = least(b.attention_at, _hold.expires_at),
        held_in_lots = b.held_in_lots + case when b.head_lot is null then 0 else _hold.amount end,
        head_left = b.head_left - _hold.amount
    where b.account_id = _hold.account_id and b.attention_at > v_now
      and b.held <= 9223372036854775807 - _hold.amount
      and pgledger._allows(b.balance, b.held, b.floor, -_hold.amount)
      and pgledger._fits(b.head_lot, b.head_left, b.cap_left, -_hold.amount, true)
    returning b.balance, b.balance - b.held, b.head_lot, pgledger._is_low(
      b.balance - b.held, -_hold.amount, b.low_below, b.top_up_below)
    into v_balance, v_available, v_lot, v_is_low;
    exit try when not found;
    <<once>>
    begin
      exit once when _hold.expires_at <= clock_timestamp();
      if v_key is null then
        v_key := '#' || gen_random_uuid();
      else
        exit once when exists (
          select from pgledger.transactions t
          where t.account_id = _hold.account_id and t.key = _hold.key);
      end if;
      insert into pgledger.pending_transactions (
        account_id, key, amount, created_at, type, reference, metadata, expires_at, lot, usage)
      values (
        _hold.account_id, v_key, -_hold.amount, v_now, 'USAGE', _hold.reference, _hold.metadata,
        _hold.expires_at, v_lot, _hold.usage)
      on conflict (account_id, key) do nothing;
      exit once when not found;
      v_answer := row(_hold.account_id, v_key, null, 'USAGE', -_hold.amount, -_hold.amount, null,
        v_balance, v_available, 'PENDING', false, null, v_now, null)::pgledger.posting;
      return case when v_is_low
        then pgledger._watched(v_answer, -_hold.amount, _hold.reference) else v_answer end;
    end;
    perform pgledger._take_back_hold(_hold.account_id, _hold.amount);
  end;
  v_request := pgledger._asked(
    _hold.account_id, -_hold.amount, 'USAGE', _hold.key, 'REFUSE', _hold.reference, _hold.metadata,
    _hold.raise_refusals, _hold.usage);
  v_request.announced := true;
  v_request.expires_at := _hold.expires_at;
  return pgledger._post_under_lock(v_request);
end;
$$;

comment on function pgledger._hold(text, bigint, text, timestamptz, text, jsonb, boolean, jsonb) is
  'Reserves credits in two statements when everything allows it, and otherwise judges the hold '
  'under the lock. The caller has checked amount (above 0). Private.';

revoke all on function
  pgledger._hold(text, bigint, text, timestamptz, text, jsonb, boolean, jsonb) from public;
