create or replace function pgledger.list_payment_returns(
  provider text default null,
  payment_id text default null,
  account_id text default null,
  since timestamptz default null,
  until timestamptz default null,
  limit_count bigint default 100
) returns setof pgledger.payment_return
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select r.provider, r.return_id, r.payment_id, r.kind, r.amount, p.paid_currency, r.status,
    r.policy, r.request_key, p.account_id, r.taken, r.occurred_at, r.created_at, r.updated_at
  from pgledger.payment_returns r
  left join pgledger.payments p on p.provider = r.provider and p.payment_id = r.payment_id
  where (list_payment_returns.provider is null or r.provider = list_payment_returns.provider)
    and (list_payment_returns.payment_id is null
      or r.payment_id = list_payment_returns.payment_id)
    and (list_payment_returns.account_id is null
      or p.account_id = pgledger._checked_account(list_payment_returns.account_id))
    and r.created_at >= coalesce(list_payment_returns.since, '-infinity')
    and r.created_at < coalesce(list_payment_returns.until, 'infinity')
  order by r.created_at desc, r.provider collate "C", r.return_id collate "C"
  limit pgledger._checked_limit(list_payment_returns.limit_count);
end;

comment on function pgledger.list_payment_returns(
  text, text, text, timestamptz, timestamptz, bigint) is
  'Refunds and disputes as they are known, the latest first: limit_count of them (1 to 10000), '
  'first told of from since on and before until (the created_at of the last one seen), of one '
  'provider, payment and account where given. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_payment_returns(
  text, text, text, timestamptz, timestamptz, bigint) from public;
