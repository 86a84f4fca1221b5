create or replace function pgledger._check_price_list(
  code text, prices jsonb, rounding pgledger.price_rounding, valid_from timestamptz, metadata jsonb
) returns void
language plpgsql
as $$
declare
  v_wrong text := pgledger._wrong_units(_check_price_list.prices, true);
begin
  if not coalesce(pgledger._is_label(_check_price_list.code), false) then
    perform pgledger._reject('code', _check_price_list.code,
      'A code has 1 to 255 characters, none of them a control character.');
  end if;
  if _check_price_list.prices is null or v_wrong is not null then
    perform pgledger._reject('prices', v_wrong,
      'An object of up to 100 units with what one of each costs: a number of minor units, 0 or '
      'more, fractions allowed, such as {"input_token": 0.0015}.');
  end if;
  if _check_price_list.rounding is null then
    perform pgledger._reject('rounding', null, 'One of CEIL, FLOOR, HALF_EVEN.');
  end if;
  if not isfinite(_check_price_list.valid_from) then
    perform pgledger._reject('valid_from', _check_price_list.valid_from::text,
      'Give a finite point in time, or none for now.');
  end if;
  perform pgledger._check_labels(null, null, null, _check_price_list.metadata);
end;
$$;

comment on function pgledger._check_price_list(
  text, jsonb, pgledger.price_rounding, timestamptz, jsonb) is
  'Refuses (22023, 22004) what could be no price list. Private.';

revoke all on function pgledger._check_price_list(
  text, jsonb, pgledger.price_rounding, timestamptz, jsonb) from public;
