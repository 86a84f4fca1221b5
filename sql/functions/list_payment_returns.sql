-- Planned for what is asked, as in _payments_found().
create or replace function pgledger.list_payment_returns(
  provider text default null,
  payment_id text default null,
  account_id text default null,
  since timestamptz default null,
  until timestamptz default null,
  limit_count bigint default 100
) returns setof pgledger.payment_return
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_payment_returns.limit_count);
  v_provider text collate "default" := list_payment_returns.provider;
  v_payment_id text collate "default" := list_payment_returns.payment_id;
  v_account_id text collate "default" := list_payment_returns.account_id;
begin
  if v_account_id is not null then
    perform pgledger._checked_account(v_account_id);
  end if;

  return query
    select r.provider, r.return_id, r.payment_id, r.kind, r.amount, p.paid_currency, r.status,
      r.policy, r.request_key, p.account_id, r.taken, r.occurred_at, r.created_at, r.updated_at
    from pgledger.payment_returns r
    left join pgledger.payments p on p.provider = r.provider and p.payment_id = r.payment_id
    where (v_provider is null or r.provider = v_provider)
      and (v_payment_id is null or r.payment_id = v_payment_id)
      and (v_account_id is null or p.account_id = v_account_id)
      and r.created_at >= coalesce(list_payment_returns.since, '-infinity')
      and r.created_at < coalesce(list_payment_returns.until, 'infinity')
    order by r.created_at desc, r.provider collate "C", r.return_id collate "C"
    limit v_limit;
end;
$$;

comment on function pgledger.list_payment_returns(
  text, text, text, timestamptz, timestamptz, bigint) is
  'Refunds and disputes as they are known, the latest first: limit_count of them (1 to 10000), '
  'first told of from since on and before until (the created_at of the last one seen), of one '
  'provider, payment and account where given. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_payment_returns(
  text, text, text, timestamptz, timestamptz, bigint) from public;
