-- The hot path. The guarded UPDATE decides: it takes the row lock, re-checks its condition on the
-- newest row after any wait, and only adds, so that what it did can be taken back when the key
-- turns out to be taken (a subtransaction would cost more than both statements).
create or replace function pgledger._post_fast(
  account_id text, amount bigint, type pgledger.transaction_type, key text, reference text,
  metadata jsonb
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_balance bigint;
  v_held bigint;
  v_seq bigint;
  v_pending_rows bigint;
  v_created_at timestamptz;
  v_taken boolean;
begin
  update pgledger.balances b
  set balance = b.balance + _post_fast.amount,
      seq = b.seq + 1,
      updated_at = greatest(b.updated_at, v_now)
  where b.account_id = _post_fast.account_id
    and b.attention_at > v_now
    and case
      when _post_fast.amount > 0 then b.balance <= 9223372036854775807 - _post_fast.amount
      else pgledger._covers(b.balance, b.held, b.floor, -_post_fast.amount)
    end
  returning b.balance, b.held, b.seq, b.pending_rows, b.updated_at
  into v_balance, v_held, v_seq, v_pending_rows, v_created_at;

  if not found then
    return null;
  end if;

  -- Nested, so that the usual account pays nothing for the look at its pending transactions.
  v_taken := false;
  if v_pending_rows > 0 and _post_fast.key is not null then
    v_taken := exists (
      select from pgledger.pending_transactions p
      where p.account_id = _post_fast.account_id and p.key = _post_fast.key);
  end if;

  if not v_taken then
    insert into pgledger.transactions (
      account_id, seq, amount, running_balance, created_at, type, key, reference, metadata)
    values (
      _post_fast.account_id, v_seq, _post_fast.amount, v_balance, v_created_at, _post_fast.type,
      _post_fast.key, _post_fast.reference, _post_fast.metadata)
    on conflict (account_id, key) where key is not null do nothing;

    if found then
      return row(
        _post_fast.account_id, coalesce(_post_fast.key, '#' || v_seq), v_seq, _post_fast.type,
        _post_fast.amount, _post_fast.amount, v_balance, v_balance, v_balance - v_held,
        'POSTED', false, null, v_created_at
      )::pgledger.posting;
    end if;
  end if;

  update pgledger.balances b
  set balance = b.balance - _post_fast.amount, seq = b.seq - 1
  where b.account_id = _post_fast.account_id;
  return null;
end;
$$;

comment on function pgledger._post_fast(
  text, bigint, pgledger.transaction_type, text, text, jsonb) is
  'Posts in two statements when everything plainly allows it; null, with nothing changed, when '
  'anything does not and the movement must be judged under the lock. The arguments were checked '
  'by the caller. Private.';

revoke all on function pgledger._post_fast(
  text, bigint, pgledger.transaction_type, text, text, jsonb) from public;
