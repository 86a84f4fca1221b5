create or replace function pgledger._post_locked(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_answer pgledger.posting;
  v_applied bigint;
  v_code text;
  v_detail jsonb;
begin
  -- A repeat is answered before anything is judged: it asks for nothing.
  v_answer := pgledger._replay(request, hot);
  if v_answer.status is not null then
    perform pgledger._forget_unopened(request.account_id);
    return v_answer;
  end if;

  v_hot := pgledger._settle_due(hot);
  -- Not asked again when an announced payment is enabled: who paid late is credited all the same.
  if request.credits_expire_at <= v_hot.updated_at then
    perform pgledger._reject('expires_at', request.credits_expire_at::text,
      'Credits expire in the future.');
  elsif request.announced and request.amount = 0 then
    perform pgledger._reject('quantities', (request.usage -> 'breakdown')::text,
      'What costs nothing needs no hold: spend it when it was used.');
  end if;
  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(request, v_hot) j;

  if v_code is not null then
    return pgledger._refuse(request, v_hot, v_code, v_detail);
  elsif request.announced then
    return pgledger._announce(request, v_hot, v_applied);
  else
    return pgledger._apply(request, v_hot, v_applied);
  end if;
end;
$$;

comment on function pgledger._post_locked(pgledger._request, pgledger.balances) is
  'Replays, or posts what is due, judges, and records or refuses, on what is seen under the lock. '
  'Private.';

revoke all on function pgledger._post_locked(pgledger._request, pgledger.balances) from public;
