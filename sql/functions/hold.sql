create or replace function pgledger.hold(
  account_id text,
  amount bigint,
  key text default null,
  expires_at timestamptz default null,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(hold.amount > 0, false) then
    perform pgledger._reject('amount', hold.amount::text,
      'A hold is a positive whole number of minor units.');
  end if;

  return pgledger._hold(
    hold.account_id collate "default", hold.amount, hold.key, hold.expires_at, hold.reference,
    hold.metadata, hold.raise_refusals, null);
end;
$$;

comment on function pgledger.hold(text, bigint, text, timestamptz, text, jsonb, boolean) is
  'Reserves credits for usage whose cost is not known yet: amount > 0, minor units, of what is '
  'available above min_balance. capture spends them, release gives them back. From expires_at '
  'on, an instant in the future, it reserves nothing, with no job running; without one it stays '
  'until it is settled. The answer is PENDING, its amount negative. A repeat of the key changes '
  'nothing and answers with the original, if it repeats expires_at too: compute that once. '
  'Refuses with LG001, LG002, LG004, LG008 (larger than what the spending cap leaves), 22003, '
  '22023 and 22004.';

revoke all on function
  pgledger.hold(text, bigint, text, timestamptz, text, jsonb, boolean) from public;
