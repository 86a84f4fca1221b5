-- Closes a bounded number of holds, so that no single call pays for all that expired before it; the
-- rest is closed by the next ones and reserves nothing meanwhile. Those in lots are all closed:
-- what they give back there decides what expires.
create or replace function pgledger._close_holds(hot pgledger.balances, at timestamptz)
returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_released bigint;
  v_expired jsonb[];
  v_in_lots text[];
  v_keys text[];
  v_key text;
begin
  v_keys := array(
    select d.key
    from pgledger.pending_transactions d
    where d.account_id = hot.account_id and d.status = 'PENDING' and d.expires_at <= _close_holds.at
    order by d.expires_at
    limit 100);
  if hot.held_in_lots > 0 then
    v_keys := v_keys || array(
      select d.key
      from pgledger.pending_transactions d
      where d.account_id = hot.account_id and d.status = 'PENDING'
        and d.expires_at <= _close_holds.at and d.lot is not null);
  end if;

  with closed as (
    update pgledger.pending_transactions p
    set status = 'EXPIRED', settled_at = p.expires_at
    where p.account_id = hot.account_id and p.key = any (v_keys)
    returning p.key, p.amount, p.lot, p.expires_at, p.reference,
      pgledger._utc(p.expires_at) as expired_at
  )
  select
    coalesce(sum(-c.amount), 0)::bigint,
    array_agg(
      jsonb_build_object(
        'key', c.key, 'amount', -c.amount, 'expired_at', c.expired_at, 'reference', c.reference)
      order by c.expires_at, c.key),
    coalesce(array_agg(c.key) filter (where c.lot is not null), '{}')
  into v_released, v_expired, v_in_lots
  from closed c;
  perform pgledger._emit(hot.account_id, 'hold_expired', v_expired);

  v_hot.held := hot.held - v_released;
  foreach v_key in array v_in_lots loop
    v_hot.held_in_lots := v_hot.held_in_lots
      - (pgledger._unreserve(hot, v_key, 0)).unreserved;
  end loop;
  return v_hot;
end;
$$;

comment on function pgledger._close_holds(pgledger.balances, timestamptz) is
  'Closes holds that expired up to an instant, those in lots and 100 more, and tells the '
  'outbox. What they reserved in lots is back in them. The balance row after that, which the '
  'caller writes. Private.';

revoke all on function pgledger._close_holds(pgledger.balances, timestamptz) from public;
