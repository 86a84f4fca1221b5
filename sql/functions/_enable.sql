create or replace function pgledger._enable(
  request pgledger._request, hot pgledger.balances, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_final pgledger._request := pgledger._as_enabled(request, pending);
  v_applied bigint;
  v_code text;
  v_detail jsonb;
begin
  if pending.amount < 0 and request.amount < pending.amount then
    return pgledger._refuse(v_final, hot, 'LG009', jsonb_build_object(
      'original', pending.key, 'remaining', -pending.amount, 'requested', -request.amount));
  end if;

  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(v_final, hot) j;
  if v_code is not null then
    return pgledger._refuse(v_final, hot, v_code, v_detail);
  end if;

  update pgledger.pending_transactions p
  set status = 'ENABLED', settled_at = hot.updated_at
  where p.account_id = pending.account_id and p.key = pending.key;

  -- What a ceiling left of the announcement is recorded beside what was asked, here too.
  if v_applied = pending.amount then
    v_final.amount := coalesce(pending.requested_amount, pending.amount);
  end if;
  perform pgledger._rearm(pending.account_id, pending.key);
  return pgledger._apply(v_final, hot, v_applied);
end;
$$;

comment on function pgledger._enable(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) is
  'Judges and posts a pending transaction with its final amount, under the lock. Private.';

revoke all on function pgledger._enable(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) from public;
