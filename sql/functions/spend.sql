create or replace function pgledger.spend(
  account_id text,
  amount bigint,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  shortfall text default 'REFUSE',
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not coalesce(spend.amount > 0, false) then
    perform pgledger._reject('amount', spend.amount::text,
      'A spend is a positive whole number of minor units.');
  end if;
  if not coalesce(spend.shortfall in ('REFUSE', 'PARTIAL', 'DEBT'), false) then
    perform pgledger._reject('shortfall', spend.shortfall, 'One of REFUSE, PARTIAL, DEBT.');
  end if;

  return pgledger._post(
    spend.account_id collate "default", -spend.amount, 'USAGE', spend.key, spend.reference,
    spend.metadata, spend.shortfall, spend.raise_refusals, null);
end;
$$;

comment on function pgledger.spend(text, bigint, text, text, jsonb, text, boolean) is
  'Takes credits for usage: amount > 0, minor units. When available credits above min_balance '
  'do not cover it, shortfall decides: REFUSE refuses, PARTIAL spends what is there (the '
  'answer''s amount) and refuses when nothing is, DEBT goes down to debt_floor. An account that '
  'never had a credit is short of credits. A repeat of the key changes nothing and answers with '
  'the original. A spending cap limits every spend, PARTIAL to what it leaves. Refuses with '
  'LG001, LG002, LG004, LG008, 22023 and 22004.';

revoke all on function pgledger.spend(text, bigint, text, text, jsonb, text, boolean) from public;
