create or replace function pgledger._require_empty(account_id text) returns void
language plpgsql
as $$
declare
  v_balance bigint;
  v_pool bigint;
  v_pending bigint;
  v_now timestamptz := clock_timestamp();
begin
  select b.balance, b.pool, count(p.key) into strict v_balance, v_pool, v_pending
  from pgledger.balances b
  left join pgledger.pending_transactions p
    on p.account_id = b.account_id
    and pgledger._pending_status(p.status, p.expires_at, v_now) = 'PENDING'
  where b.account_id = _require_empty.account_id
  group by b.balance, b.pool;

  -- Credits in a lot would expire, and leave a closed account with the debt that they cover.
  if v_balance <> 0 or v_pool <> 0 or v_pending > 0 then
    raise exception using
      errcode = '55000',
      message = 'account not empty',
      detail = jsonb_build_object(
        'account_id', _require_empty.account_id,
        'balance', v_balance,
        'in_lots', coalesce(v_balance - v_pool, 0),
        'pending', v_pending)::text,
      hint = 'Bring the balance and each lot to 0, settle what is pending, then close it.';
  end if;
end;
$$;

comment on function pgledger._require_empty(text) is
  'Refuses (55000) to close an account that has something left, in whichever lot, or pending. '
  'Only under the lock of the balance row. Private.';

revoke all on function pgledger._require_empty(text) from public;
