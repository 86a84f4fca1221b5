create or replace function pgledger._settle_due(hot pgledger.balances) returns pgledger.balances
language plpgsql
as $$
declare
  v_now timestamptz := hot.updated_at;
  v_hot pgledger.balances;
  v_due pgledger._movement[];
  v_held bigint;
  v_available bigint;
  v_unclosed bigint;
begin
  if hot.attention_at > v_now then
    return hot;
  end if;

  select b.* into strict v_hot
  from pgledger.balances b
  where b.account_id = hot.account_id;
  v_held := v_hot.held;
  v_available := v_hot.balance - v_hot.held;
  -- Listed before the holds are closed, because it is their expiry that decides what expires when.
  v_due := array(select d from pgledger._due(v_hot, v_now) d);
  v_hot := pgledger._put_head_back(v_hot);
  v_hot := pgledger._close_holds(v_hot, v_now);
  v_unclosed := pgledger._held_expired(hot.account_id, v_now);
  v_hot.held := v_hot.held - v_unclosed;
  v_hot := pgledger._enter_due(v_hot, v_due);

  update pgledger.auto_top_ups s
  set resumes_at = null
  where s.account_id = hot.account_id and s.resumes_at <= v_now;
  if v_hot.cap_left is not null then
    v_hot.cap_left := pgledger._reset_cap(hot.account_id, v_now);
  end if;
  perform pgledger._advance_plan(hot.account_id, v_now);
  perform pgledger._tell_low(v_hot, v_hot.balance - v_hot.held,
    v_hot.balance - v_hot.held - v_available, '#' || v_hot.seq, null);

  perform pgledger._write_balance(v_hot, v_hot.held + v_unclosed - v_held);
  v_hot.attention_at := pgledger._attention_at(hot.account_id);
  v_hot.top_up_below := pgledger._armed_below(hot.account_id);
  update pgledger.balances b
  set attention_at = v_hot.attention_at, top_up_below = v_hot.top_up_below
  where b.account_id = hot.account_id
  returning b.* into v_hot;

  v_hot.held := v_hot.held - v_unclosed;
  v_hot.updated_at := v_now;
  -- Seen to, as far as this call is concerned: a second look would close as many again.
  v_hot.attention_at := 'infinity';
  return v_hot;
end;
$$;

comment on function pgledger._settle_due(pgledger.balances) is
  'Posts what fell due on an account up to hot.updated_at, under its lock, in the order it fell '
  'due and as of then: closes expired holds, expires lots, refills, begins a new period of the '
  'cap, tells when what expired took available below the low-balance level, and arms an '
  'auto-top-up whose pause is over. The balance row after that. Private.';

revoke all on function pgledger._settle_due(pgledger.balances) from public;
