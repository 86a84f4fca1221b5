create or replace function pgledger.price(
  code text,
  quantities jsonb,
  at timestamptz default null
) returns pgledger.usage_price
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_cost bigint;
  v_usage jsonb;
begin
  perform pgledger._check_usage(price.code, price.quantities);
  if not isfinite(price.at) then
    perform pgledger._reject('at', price.at::text,
      'Give a finite point in time, or none for now.');
  end if;

  select p.cost, p.usage into v_cost, v_usage
  from pgledger._priced(
    price.code collate "default", price.quantities, coalesce(price.at, statement_timestamp())) p;
  if v_cost is null then
    perform pgledger._refuse_price(v_usage);
  end if;
  return row(
    price.code, (v_usage ->> 'valid_from')::timestamptz,
    (v_usage ->> 'rounding')::pgledger.price_rounding, v_cost, (v_usage -> 'exact')::numeric,
    v_usage -> 'breakdown')::pgledger.usage_price;
end;
$$;

comment on function pgledger.price(text, jsonb, timestamptz) is
  'What usage would cost now, or at an instant, and why: quantities is an object of how many '
  'there are of each unit, such as {"input_token": 1200}, 0 or more, fractions allowed. The '
  'products with the prices are added up exactly and rounded once. Nothing is spent: see '
  'spend_usage. Refuses with LG011 (the code or a unit has no price then), 22003 (a cost beyond '
  'bigint), 22023 and 22004.';

revoke all on function pgledger.price(text, jsonb, timestamptz) from public;
