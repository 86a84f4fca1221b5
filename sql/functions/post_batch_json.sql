create or replace function pgledger.post_batch_json(items jsonb, atomic boolean default false)
returns setof pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgledger._check_batch_json(post_batch_json.items);

  return query
  select p.account_id, p.key, p.seq, p.type, p.amount, p.requested_amount, p.running_balance,
    p.balance, p.available, p.status, p.replayed, p.refusal, p.created_at, p.error
  from (
    select
      coalesce(array_agg(i.account_id order by i.place), '{}') as account_ids,
      coalesce(array_agg(i.amount order by i.place), '{}') as amounts,
      coalesce(array_agg(i.type order by i.place), '{}') as types,
      array_agg(i.key order by i.place) as keys,
      array_agg(i.reference order by i.place) as reference_ids,
      array_agg(i.metadata order by i.place) as metadata,
      array_agg(i.shortfall order by i.place) as shortfalls,
      array_agg(i.external_id order by i.place) as external_ids,
      array_agg(i.ceiling_balance order by i.place) as ceiling_balances,
      array_agg(i.expires_at order by i.place) as expires_at,
      array_agg(i.priority order by i.place) as priorities,
      array_agg(i.code order by i.place) as codes,
      array_agg(i.quantities order by i.place) as quantities
    from rows from (jsonb_to_recordset(post_batch_json.items) as (
      account_id text, amount bigint, type pgledger.transaction_type, key text, reference text,
      metadata jsonb, shortfall text, external_id text, ceiling_balance bigint,
      expires_at timestamptz, priority integer, code text, quantities jsonb)) with ordinality i (
      account_id, amount, type, key, reference, metadata, shortfall, external_id,
      ceiling_balance, expires_at, priority, code, quantities, place)
  ) a
  cross join pgledger.post_batch(
    a.account_ids, a.amounts, a.types, a.keys, a.reference_ids, a.metadata, a.shortfalls,
    a.external_ids, a.ceiling_balances, a.expires_at, a.priorities, a.codes, a.quantities,
    post_batch_json.atomic) with ordinality p (
    account_id, key, seq, type, amount, requested_amount, running_balance, balance, available,
    status, replayed, refusal, created_at, error, place)
  order by p.place;
end;
$$;

comment on function pgledger.post_batch_json(jsonb, boolean) is
  'As post_batch, for callers that have no arrays: a JSON array of objects with the fields '
  'account_id, amount, type, and where wanted key, reference, metadata, shortfall, external_id, '
  'ceiling_balance, expires_at and priority, or code and quantities for the amount; null is the '
  'default. Any other field, and a value of another kind, refuses the whole call, naming the item '
  'from 1 on. Refuses with 22023, 22004, and with 22P02 and 22007 for a type and an instant that '
  'PostgreSQL does not know.';

revoke all on function pgledger.post_batch_json(jsonb, boolean) from public;
