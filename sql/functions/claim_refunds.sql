-- As in claim_top_ups(): no balance row is locked: a claim waits for nobody.
create or replace function pgledger.claim_refunds(
  limit_count bigint default 10,
  lease interval default '5 minutes',
  provider text default null
) returns setof pgledger.refund_order
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_limit bigint := pgledger._checked_limit(claim_refunds.limit_count);
  v_lease interval := pgledger._checked_lease(claim_refunds.lease);
  v_provider text collate "default" := claim_refunds.provider;
  v_now timestamptz := clock_timestamp();
  v_due record;
  v_claimed pgledger.refund_requests;
begin
  if v_provider is not null then
    perform pgledger._checked_provider(v_provider);
  end if;
  for v_due in
    select q.account_id, q.key
    from pgledger.refund_requests q
    where q.due_at <= v_now and (v_provider is null or q.provider = v_provider)
    order by q.due_at, q.account_id collate "C", q.key collate "C"
    limit v_limit
    for update skip locked
  loop
    update pgledger.refund_requests q
    set claims = q.claims + 1, due_at = v_now + v_lease
    where q.account_id = v_due.account_id and q.key = v_due.key
    returning q.* into strict v_claimed;
    return next row(
      v_claimed.account_id, v_claimed.key, v_claimed.amount, v_claimed.provider,
      v_claimed.payment_id, v_claimed.money, v_claimed.money_currency, v_claimed.claims,
      pgledger._refund_provider_key(v_claimed.account_id, v_claimed.key))::pgledger.refund_order;
  end loop;
end;
$$;

comment on function pgledger.claim_refunds(bigint, interval, text) is
  'Hands out up to limit_count approved refunds (1 to 10000) whose money is to be given back, by '
  'one provider or by any, the oldest first, and none of them to anybody else before lease (above '
  '0, at most a day) is over. Commit, then have the provider give the money back under the '
  'idempotency_key, and tell what came of it: record_payment_refund with key as request_key, or '
  'settle_refund_request. Where claims is above 1 somebody may have had it given back before and '
  'not come to tell: ask the provider first. The idempotency_key of a request never changes. Takes '
  'no lock on a balance and waits for nobody. Refuses with 22023 and 22004.';

revoke all on function pgledger.claim_refunds(bigint, interval, text) from public;
