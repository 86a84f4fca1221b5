create or replace function pgledger.list_payments(
  provider text default null,
  account_id text default null,
  since timestamptz default null,
  until timestamptz default null,
  unmatched boolean default false,
  limit_count bigint default 100
) returns setof pgledger.payment
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_payments.limit_count);
begin
  if list_payments.account_id is not null then
    perform pgledger._checked_account(list_payments.account_id);
  end if;

  return query
    select (t.told).provider, (t.told).payment_id, (t.told).status, (t.told).account_id,
      (t.told).key, (t.told).amount, (t.told).paid, (t.told).paid_currency, (t.told).refunded,
      (t.told).disputed, (t.told).taken, (t.told).reason, (t.told).seq, (t.told).created_at,
      (t.told).updated_at
    from pgledger._payments_found(
      list_payments.provider collate "default", list_payments.account_id collate "default",
      coalesce(list_payments.since, '-infinity'), coalesce(list_payments.until, 'infinity'),
      list_payments.unmatched is true, v_limit) p
    cross join lateral (select pgledger._payment_told(p) as told offset 0) t
    order by (t.told).created_at desc, (t.told).provider collate "C",
      (t.told).payment_id collate "C";
end;
$$;

comment on function pgledger.list_payments(
  text, text, timestamptz, timestamptz, boolean, bigint) is
  'Payments as they are known, the latest first: limit_count of them (1 to 10000), first told of '
  'from since on and before until (the created_at of the last one seen), of one provider and '
  'account where given; with unmatched only those that succeeded and are not credited, whose '
  'reason says why. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_payments(
  text, text, timestamptz, timestamptz, boolean, bigint) from public;
