create or replace function pgledger.hold_usage(
  account_id text,
  code text,
  quantities jsonb,
  key text default null,
  expires_at timestamptz default null,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost bigint;
  v_usage jsonb;
  v_request pgledger._request;
begin
  perform pgledger._check_usage(hold_usage.code, hold_usage.quantities);
  select p.cost, p.usage into v_cost, v_usage
  from pgledger._priced(
    hold_usage.code collate "default", hold_usage.quantities, clock_timestamp()) p;
  if v_cost > 0 then
    return pgledger._hold(
      hold_usage.account_id collate "default", v_cost, hold_usage.key, hold_usage.expires_at,
      hold_usage.reference, hold_usage.metadata, hold_usage.raise_refusals, v_usage);
  end if;

  -- A repeat of a hold made at another price is answered all the same.
  v_request := pgledger._asked(
    hold_usage.account_id, v_cost, 'USAGE', hold_usage.key, 'REFUSE', hold_usage.reference,
    hold_usage.metadata, hold_usage.raise_refusals, v_usage);
  v_request.announced := true;
  v_request.expires_at := hold_usage.expires_at;
  return pgledger._post_under_lock(v_request);
end;
$$;

comment on function pgledger.hold_usage(
  text, text, jsonb, text, timestamptz, text, jsonb, boolean) is
  'Reserves, as hold does, what an estimate of usage costs at the price of now, as price tells '
  'it: quantities is an object of how many of each unit. capture_usage then charges what was '
  'really used, at these prices. A repeat of the key with the same code, quantities and '
  'expires_at changes nothing and answers with the original, whatever the price is now. Refuses '
  'with LG011 (the code or a unit has no price), LG001, LG002, LG004, LG008, 22003, 22023 (also '
  'what costs nothing, which needs no hold) and 22004.';

revoke all on function pgledger.hold_usage(
  text, text, jsonb, text, timestamptz, text, jsonb, boolean) from public;
