create or replace function pgledger.set_price(
  code text,
  prices jsonb,
  rounding pgledger.price_rounding default 'CEIL',
  valid_from timestamptz default null,
  metadata jsonb default null,
  actor text default null
) returns pgledger.price_list
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz;
  v_list pgledger.price_lists;
  v_recorded jsonb;
  v_given jsonb;
  v_changed boolean;
begin
  perform pgledger._check_price_list(
    set_price.code, set_price.prices, set_price.rounding, set_price.valid_from, set_price.metadata);
  -- One at a time: two that write the same are one change, and two that write many never deadlock.
  lock table pgledger.price_lists in share row exclusive mode;
  v_now := clock_timestamp();

  v_list := pgledger._price_list_at(
    set_price.code collate "default", coalesce(set_price.valid_from, v_now));
  v_recorded := pgledger._prices_of(v_list);
  select coalesce(jsonb_object_agg(e.key, pgledger._number(e.value, true)), '{}') into v_given
  from jsonb_each(set_price.prices) e;
  if v_list.code is null and v_given = '{}' then
    perform pgledger._refuse_price(pgledger._no_price(
      set_price.code, v_list, null, coalesce(set_price.valid_from, v_now)));
  end if;

  v_changed := v_list.code is null or v_recorded <> v_given
    or (v_list.rounding <> set_price.rounding and v_given <> '{}');
  if v_changed then
    if set_price.valid_from < v_now then
      perform pgledger._reject('valid_from', set_price.valid_from::text,
        'What was in force stays as it was: set prices from now on, which is the default, or '
        'from an instant to come.');
    end if;
    v_list := row(set_price.code, coalesce(set_price.valid_from, v_now), set_price.rounding,
      set_price.metadata)::pgledger.price_lists;
    perform pgledger._store_price_list(v_list, set_price.prices);
    perform pgledger._audit(null, 'set_price', set_price.actor collate "default",
      jsonb_build_object(
        'code', set_price.code,
        'prices', v_given,
        'rounding', set_price.rounding,
        'valid_from', set_price.valid_from));
  end if;
  return row(v_list.code, v_list.valid_from, v_list.rounding, pgledger._prices_of(v_list),
    coalesce(v_list.metadata, '{}'), v_changed)::pgledger.price_list;
end;
$$;

comment on function pgledger.set_price(
  text, jsonb, pgledger.price_rounding, timestamptz, jsonb, text) is
  'Sets what is charged for a code (a model, a feature) from now on, or from valid_from, an '
  'instant to come. prices has the credits per unit for all its units, such as {"input_token": '
  '0.0015}: minor units, exact, 0 or more, as JSON numbers or strings of digits. rounding says how '
  'the sum over the units becomes whole minor units. What is or was in force never changes; a list '
  'that is to come is replaced by another one of the same instant. {} means no longer sold. Prices '
  'and rounding that are in force at that instant already change nothing, and the answer, the list '
  'in force, says so. Kept in the audit log, as done by actor. Refuses with LG011 ({} for what is '
  'not sold anyway), 22023 and 22004.';

revoke all on function pgledger.set_price(
  text, jsonb, pgledger.price_rounding, timestamptz, jsonb, text) from public;
