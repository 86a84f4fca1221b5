create or replace function pgledger.grant_credits(
  account_id text,
  amount bigint,
  key text default null,
  expires_at timestamptz default null,
  priority integer default 0,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(grant_credits.amount > 0, false) then
    perform pgledger._reject('amount', grant_credits.amount::text,
      'A grant is a positive whole number of minor units.');
  end if;

  return pgledger.add_transaction(
    account_id => grant_credits.account_id,
    amount => grant_credits.amount,
    type => 'GRANT',
    key => grant_credits.key,
    reference => grant_credits.reference,
    metadata => grant_credits.metadata,
    expires_at => grant_credits.expires_at,
    priority => grant_credits.priority,
    raise_refusals => grant_credits.raise_refusals);
end;
$$;

comment on function pgledger.grant_credits(
  text, bigint, text, timestamptz, integer, text, jsonb, boolean) is
  'Credits what nobody paid for: a trial, a promotion, goodwill. amount > 0, minor units. With '
  'expires_at they are gone from that instant on, with no job running; priority says what is '
  'drawn first, the lowest; the pool''s is 0. Otherwise as add_transaction. Refuses with LG002, '
  'LG004, 22003, 22023 and 22004.';

revoke all on function
  pgledger.grant_credits(
  text, bigint, text, timestamptz, integer, text, jsonb, boolean) from public;
