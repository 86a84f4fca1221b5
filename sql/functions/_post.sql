-- The hot path. The guarded UPDATE decides: it takes the row lock, re-checks its condition on the
-- newest row after any wait, and only adds, so that what it did can be taken back when the key
-- turns out to be taken (a subtransaction would cost more than both statements).
--
-- PL/pgSQL sets each expression up anew in each transaction, so conditions are nested rather than
-- joined by AND: what was not given costs nothing. ON CONFLICT writes 40 percent more WAL
-- (its insertion is confirmed afterwards), so a movement without a key does without.
create or replace function pgledger._post(
  account_id text, amount bigint, type pgledger.transaction_type, key text, reference text,
  metadata jsonb, shortfall text, raise_refusals boolean, usage jsonb
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_balance bigint;
  v_available bigint;
  v_seq bigint;
  v_lot bigint;
  v_pending_rows bigint;
  v_created_at timestamptz;
  v_is_low boolean;
  v_answer pgledger.posting;
begin
  <<try>>
  begin
    if _post.key is not null then exit try when not pgledger._is_key(_post.key); end if;
    if _post.reference is not null or _post.metadata is not null then
      exit try when not (
        pgledger._is_label(_post.reference) and pgledger._is_metadata(_post.metadata));
    end if;
    update pgledger.balances b
    set balance = b.balance + _post.amount, seq = b.seq + 1,
        updated_at = greatest(b.updated_at, v_now),
        pool = b.pool + case when b.head_lot is null then _post.amount else 0 end,
        head_left = b.head_left + _post.amount, cap_left = b.cap_left + least(_post.amount, 0)
    where b.account_id = _post.account_id and b.attention_at > greatest(b.updated_at, v_now)
      and pgledger._allows(b.balance, b.held, b.floor, _post.amount)
      and pgledger._fits(b.head_lot, b.head_left, b.cap_left, _post.amount, _post.type = 'USAGE')
    returning b.balance, b.balance - b.held, b.seq, b.pending_rows, b.updated_at, b.head_lot,
      _post.amount < 0
      and pgledger._is_low(b.balance - b.held, _post.amount, b.low_below, b.top_up_below)
    into v_balance, v_available, v_seq, v_pending_rows, v_created_at, v_lot, v_is_low;
    exit try when not found;
    <<once>>
    begin
      if _post.key is null then
        insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at,
          type, reference, metadata, lot, usage)
        values (_post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata, v_lot, _post.usage);
      else
        if v_pending_rows > 0 then
          exit once when exists (select from pgledger.pending_transactions p
            where p.account_id = _post.account_id and p.key = _post.key);
        end if;
        insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at,
          type, reference, metadata, lot, usage, key)
        values (_post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata, v_lot, _post.usage, _post.key)
        on conflict (account_id, key) where key is not null do nothing;
        exit once when not found;
      end if;
      v_answer := row(_post.account_id, coalesce(_post.key, '#' || v_seq), v_seq, _post.type,
        _post.amount, _post.amount, v_balance, v_balance, v_available, 'POSTED', false, null,
        v_created_at, null)::pgledger.posting;
      return case when v_is_low
        then pgledger._watched(v_answer, _post.amount, _post.reference) else v_answer end;
    end;
    perform pgledger._take_back(_post.account_id, _post.amount);
  end;
  return pgledger._post_under_lock(pgledger._asked(
    _post.account_id, _post.amount, _post.type, _post.key, _post.shortfall, _post.reference,
    _post.metadata, _post.raise_refusals, _post.usage));
end;
$$;

comment on function pgledger._post(
  text, bigint, pgledger.transaction_type, text, text, jsonb, text, boolean, jsonb) is
  'Posts a plain movement in two statements when everything allows it, and otherwise judges it '
  'under the lock. The caller has checked amount (not 0, not the lowest bigint), type and '
  'shortfall; of usage the amount may be 0 or, where it has no price, null. Private.';

revoke all on function pgledger._post(
  text, bigint, pgledger.transaction_type, text, text, jsonb, text, boolean, jsonb) from public;
