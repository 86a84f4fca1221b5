-- Closes a bounded number of holds, so that no single call pays for all that expired before it; the
-- rest is closed by the next ones and reserves nothing meanwhile.
create or replace function pgledger._settle_due(hot pgledger.balances) returns pgledger.balances
language plpgsql
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_hot pgledger.balances := hot;
  v_released bigint;
  v_expired jsonb[];
begin
  if hot.attention_at > v_now then
    return hot;
  end if;

  with closed as (
    update pgledger.pending_transactions p
    set status = 'EXPIRED', settled_at = p.expires_at
    where p.account_id = hot.account_id
      and p.key = any (array(
        select d.key
        from pgledger.pending_transactions d
        where d.account_id = hot.account_id and d.status = 'PENDING' and d.expires_at <= v_now
        order by d.expires_at
        limit 100))
    returning p.key, p.amount, p.expires_at, p.reference,
      to_char(p.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as expired_at
  )
  select
    coalesce(sum(-c.amount), 0)::bigint,
    array_agg(
      jsonb_build_object(
        'key', c.key, 'amount', -c.amount, 'expired_at', c.expired_at, 'reference', c.reference)
      order by c.expires_at, c.key)
  into v_released, v_expired
  from closed c;
  perform pgledger._emit(hot.account_id, 'hold_expired', v_expired);

  update pgledger.auto_top_ups s
  set resumes_at = null
  where s.account_id = hot.account_id and s.resumes_at <= v_now;

  v_hot.attention_at := pgledger._attention_at(hot.account_id);
  v_hot.top_up_below := pgledger._armed_below(hot.account_id);
  update pgledger.balances b
  set held = b.held - v_released,
      attention_at = v_hot.attention_at,
      top_up_below = v_hot.top_up_below
  where b.account_id = hot.account_id
  returning b.* into v_hot;

  v_hot := pgledger._without_due(v_hot, v_now);
  -- Seen to, as far as this call is concerned: a second look would close as many again.
  v_hot.attention_at := 'infinity';
  return v_hot;
end;
$$;

comment on function pgledger._settle_due(pgledger.balances) is
  'Posts what fell due on an account, under its lock: closes expired holds, up to 100 a call, and '
  'arms an auto-top-up whose pause is over. The balance row after that. Private.';

revoke all on function pgledger._settle_due(pgledger.balances) from public;
