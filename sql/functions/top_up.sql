create or replace function pgledger.top_up(
  account_id text,
  amount bigint,
  key text default null,
  is_active boolean default true,
  ceiling_balance bigint default null,
  reference text default null,
  external_id text default null,
  metadata jsonb default null,
  expires_at timestamptz default null,
  priority integer default 0,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(top_up.amount > 0, false) then
    perform pgledger._reject('amount', top_up.amount::text,
      'A top-up is a positive whole number of minor units.');
  end if;

  return pgledger.add_transaction(
    account_id => top_up.account_id,
    amount => top_up.amount,
    type => 'TOP_UP',
    key => top_up.key,
    is_active => top_up.is_active,
    ceiling_balance => top_up.ceiling_balance,
    reference => top_up.reference,
    external_id => top_up.external_id,
    metadata => top_up.metadata,
    expires_at => top_up.expires_at,
    priority => top_up.priority,
    raise_refusals => top_up.raise_refusals);
end;
$$;

comment on function pgledger.top_up(
  text, bigint, text, boolean, bigint, text, text, jsonb, timestamptz, integer, boolean) is
  'Credits what was paid: amount > 0, minor units. is_active => false announces a payment that '
  'is not made yet; enable_transaction makes it effective, cancel_transaction drops it. '
  'external_id is the provider''s id: it has one effect, ever, whatever the key. expires_at and '
  'priority are those of the credits, not of the announcement. Otherwise as add_transaction. '
  'Refuses with LG002, LG004, LG005, 22003, 22023 and 22004.';

revoke all on function pgledger.top_up(
  text, bigint, text, boolean, bigint, text, text, jsonb, timestamptz, integer, boolean)
  from public;
