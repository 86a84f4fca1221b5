create or replace function pgledger._with_price(
  metadata jsonb, price bigint, price_currency text
) returns jsonb
language plpgsql immutable
as $$
begin
  if (_with_price.price is null) <> (_with_price.price_currency is null) then
    perform pgledger._reject(
      case when _with_price.price is null then 'price' else 'price_currency' end, null,
      'Give both the price and its currency, or neither.');
  end if;
  if _with_price.price <= 0 then
    perform pgledger._reject('price', _with_price.price::text,
      'Money above 0, in the smallest unit of price_currency.');
  end if;
  if _with_price.price_currency !~ '^[a-z]{3}$' then
    perform pgledger._reject('price_currency', _with_price.price_currency,
      'The code of a currency in lower case, such as usd.');
  end if;
  if _with_price.metadata ?| array['price', 'price_currency'] then
    perform pgledger._reject('metadata', _with_price.metadata::text,
      'price and price_currency are kept there: give them as arguments.');
  end if;

  if _with_price.price is null then
    return _with_price.metadata;
  end if;
  return coalesce(_with_price.metadata, '{}') || jsonb_build_object(
    'price', _with_price.price, 'price_currency', _with_price.price_currency);
end;
$$;

comment on function pgledger._with_price(jsonb, bigint, text) is
  'The metadata of a top-up with what it costs; refuses (22023, 22004) what is no price. Private.';

revoke all on function pgledger._with_price(jsonb, bigint, text) from public;
