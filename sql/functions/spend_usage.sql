create or replace function pgledger.spend_usage(
  account_id text,
  code text,
  quantities jsonb,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  shortfall text default 'REFUSE',
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost bigint;
  v_usage jsonb;
begin
  perform pgledger._check_usage(spend_usage.code, spend_usage.quantities);
  if not coalesce(spend_usage.shortfall in ('REFUSE', 'PARTIAL', 'DEBT'), false) then
    perform pgledger._reject('shortfall', spend_usage.shortfall, 'One of REFUSE, PARTIAL, DEBT.');
  end if;

  select p.cost, p.usage into v_cost, v_usage
  from pgledger._priced(
    spend_usage.code collate "default", spend_usage.quantities, clock_timestamp()) p;
  return pgledger._post(
    spend_usage.account_id collate "default", -v_cost, 'USAGE', spend_usage.key,
    spend_usage.reference, spend_usage.metadata, spend_usage.shortfall,
    spend_usage.raise_refusals, v_usage);
end;
$$;

comment on function pgledger.spend_usage(
  text, text, jsonb, text, text, jsonb, text, boolean) is
  'Takes credits for usage at the price of now, as price tells it and spend takes it: quantities '
  'is an object of how many of each unit were used, such as {"input_token": 1200}. What was used '
  'and at which prices is recorded with the transaction. What costs nothing is recorded with an '
  'amount of 0, whatever the balance, where the account is there and open. A repeat of the key '
  'with the same code and quantities changes nothing and answers with the original, whatever '
  'the price is now. Refuses with LG011 (the code or a unit has no price), LG001, LG002, LG004, '
  'LG008, 22003 (a cost beyond bigint), 22023 and 22004.';

revoke all on function pgledger.spend_usage(
  text, text, jsonb, text, text, jsonb, text, boolean) from public;
