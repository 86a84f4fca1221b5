create or replace function pgledger._form_lot(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger._sources
language plpgsql
as $$
declare
  -- What holds reserve is no debt: they may be released, and then nobody owed it.
  v_paid bigint := greatest(-greatest(coalesce(hot.pool, hot.balance), -_form_lot.applied), 0);
  v_expires_at timestamptz := coalesce(request.credits_expire_at, 'infinity');
begin
  insert into pgledger.lots (
    account_id, seq, priority, expires_at, amount, remaining, granted_expires_at)
  values (
    request.account_id, hot.seq + 1, coalesce(request.priority, 0), v_expires_at,
    _form_lot.applied - v_paid, _form_lot.applied - v_paid, v_expires_at);
  return pgledger._sources_from(-v_paid, v_expires_at);
end;
$$;

comment on function pgledger._form_lot(pgledger._request, pgledger.balances, bigint) is
  'Makes a lot of a credit about to be posted, after it paid the pool''s debt. Private.';

revoke all on function pgledger._form_lot(pgledger._request, pgledger.balances, bigint) from public;
