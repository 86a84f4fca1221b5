-- depends: 0003_lots_plans_caps

set local lock_timeout = '2s';

-- ---- By hand: tables, types and data; safe to run again.

-- In the order in which a posting takes them, so that one in flight is waited for, not deadlocked.
lock table pgledger.balances in access exclusive mode;
lock table pgledger.transactions, pgledger.pending_transactions in access exclusive mode;

do $$
begin
  if to_regtype('pgledger.price_rounding') is null then
    create type pgledger.price_rounding as enum ('CEIL', 'FLOOR', 'HALF_EVEN');
  end if;

  if to_regtype('pgledger.price_list') is null then
    create type pgledger.price_list as (
      code text,
      valid_from timestamptz,
      rounding pgledger.price_rounding,
      prices jsonb,
      metadata jsonb,
      changed boolean
    );
  end if;

  if to_regtype('pgledger.unit_price') is null then
    create type pgledger.unit_price as (
      code text,
      valid_from timestamptz,
      valid_until timestamptz,
      rounding pgledger.price_rounding,
      unit text,
      credits_per_unit numeric,
      metadata jsonb
    );
  end if;

  if to_regtype('pgledger.usage_price') is null then
    create type pgledger.usage_price as (
      code text,
      valid_from timestamptz,
      rounding pgledger.price_rounding,
      cost bigint,
      exact numeric,
      breakdown jsonb
    );
  end if;

  if to_regtype('pgledger._item') is null then
    create type pgledger._item as (
      item bigint,
      account_id text,
      amount bigint,
      type pgledger.transaction_type,
      key text,
      reference text,
      metadata jsonb,
      usage jsonb,
      nth bigint,
      so_far bigint,
      total bigint,
      is_last boolean,
      is_usage boolean,
      is_plain boolean
    );
  end if;

  if not exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = 'pgledger.posting'::regclass and a.attname = 'error'
  ) then
    alter type pgledger.posting add attribute error jsonb;
  end if;

  if not exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = 'pgledger.transaction'::regclass and a.attname = 'usage'
  ) then
    alter type pgledger.transaction add attribute usage jsonb;
  end if;

  if not exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = 'pgledger._request'::regclass and a.attname = 'usage'
  ) then
    alter type pgledger._request add attribute usage jsonb;
  end if;
end;
$$;

comment on type pgledger.price_rounding is
  'How an exact cost becomes whole minor units: CEIL up, FLOOR down, HALF_EVEN to the nearest and '
  'a half to the even one.';
comment on type pgledger.price_list is
  'What a code costs from an instant on: the list in force after set_price.';
comment on column pgledger.price_list.valid_from is 'Since when it holds, or from when on.';
comment on column pgledger.price_list.rounding is 'How the sum over all units is rounded, once.';
comment on column pgledger.price_list.prices is
  'Credits per unit, minor units, exact; an empty object where the code is no longer sold.';
comment on column pgledger.price_list.changed is
  'False where these prices and this rounding were in force already, and nothing was written.';
comment on column pgledger.unit_price.valid_from is 'The instant from which on it holds.';
comment on column pgledger.unit_price.valid_until is
  'The instant from which on another list holds, or the code is no longer sold; else null.';
comment on column pgledger.unit_price.rounding is 'How the sum over all units is rounded, once.';
comment on column pgledger.unit_price.unit is 'What is counted.';
comment on column pgledger.unit_price.credits_per_unit is 'Minor units, exact.';
comment on column pgledger.usage_price.valid_from is 'Since when the price list holds.';
comment on column pgledger.usage_price.rounding is 'How exact was rounded to cost.';
comment on column pgledger.usage_price.cost is 'Whole minor units.';
comment on column pgledger.usage_price.exact is 'The sum over all units before it is rounded.';
comment on column pgledger.usage_price.breakdown is
  'By unit: quantity, credits_per_unit, and credits, their product; exact numbers.';
comment on type pgledger._item is
  'One movement of a batch, with what the batch asks of its account in all: nth among them, so_far '
  'their sum up to it, total all of it; is_usage and is_plain where all of them are. Private.';
comment on type pgledger.unit_price is
  'What one unit of a code costs, as list_prices shows it.';
comment on type pgledger.usage_price is
  'What usage costs, and why.';
comment on column pgledger.posting.error is
  'Of a refusal returned as a row what would have been raised: message, detail (an object) and '
  'hint; else null.';
comment on column pgledger.transaction.usage is
  'What was used, at which price, where the amount was made of that; else null. See price.';

-- sum(bigint) counts in numeric, for which a batch would take a tenth longer.
create or replace aggregate pgledger._total(amount bigint) (
  sfunc = int8pl,
  stype = bigint,
  initcond = '0',
  parallel = safe
);

comment on aggregate pgledger._total(bigint) is
  'The sum in bigint, 0 of nothing. The caller has seen to it that it fits. Private.';

revoke all on function pgledger._total(bigint) from public;

alter table pgledger.transactions add column if not exists usage jsonb;
comment on column pgledger.transactions.usage is
  'What was used, at which price, where the amount was made of that; else null. See price.';

alter table pgledger.pending_transactions add column if not exists usage jsonb;
comment on column pgledger.pending_transactions.usage is
  'What is expected to be used, at which price, where the amount was made of that; else null.';

-- Two tables, because how a list rounds is said once however many units it has.
create table if not exists pgledger.price_lists (
  code text not null,
  valid_from timestamptz not null,
  rounding pgledger.price_rounding not null,
  metadata jsonb,
  constraint price_lists_pkey primary key (code, valid_from)
);

comment on table pgledger.price_lists is
  'From when on what is used under a code (a model, a feature) has which prices: one row per code '
  'and change. What was in force once stays, so every amount made of it can be made again.';
comment on column pgledger.price_lists.code is
  'The caller''s own name of a model or feature: 1 to 255 characters.';
comment on column pgledger.price_lists.valid_from is
  'From this instant on it holds, until the next one of its code does.';
comment on column pgledger.price_lists.rounding is
  'How the sum over all units becomes whole minor units, once.';
comment on column pgledger.price_lists.metadata is
  'What the caller keeps with it, such as where the prices are from.';

create table if not exists pgledger.prices (
  code text not null,
  valid_from timestamptz not null,
  unit text not null,
  credits_per_unit numeric not null,
  constraint prices_pkey primary key (code, valid_from, unit),
  constraint prices_list_known foreign key (code, valid_from)
    references pgledger.price_lists (code, valid_from) on delete cascade,
  constraint prices_credits_per_unit_in_range check (
    credits_per_unit >= 0 and credits_per_unit < 'infinity')
);

comment on table pgledger.prices is
  'What one unit costs under a price list, one row per unit.';
comment on column pgledger.prices.valid_from is
  'Which list of the code it belongs to.';
comment on column pgledger.prices.unit is
  'The caller''s own name of what is counted, such as input_token or image.';
comment on column pgledger.prices.credits_per_unit is
  'Minor units of credits, exact, 0 or more; fractions are usual: only the sum is rounded.';

drop function if exists pgledger._asked(text, bigint, pgledger.transaction_type, text, text, text, jsonb, boolean);

drop function if exists pgledger._capture(text, text, bigint);

drop function if exists pgledger._hold(text, bigint, text, timestamp with time zone, text, jsonb, boolean);

drop function if exists pgledger._post(text, bigint, pgledger.transaction_type, text, text, jsonb, text, boolean);

-- functions/_is_plain.sql

create or replace function pgledger._is_plain(
  shortfall text, external_id text, ceiling_balance bigint, credits_expire_at timestamptz,
  priority integer
) returns boolean
language sql immutable parallel safe
return shortfall in ('REFUSE', 'PARTIAL', 'DEBT')
  and external_id is null and ceiling_balance is null
  and credits_expire_at is null and coalesce(priority, 0) = 0;

comment on function pgledger._is_plain(text, text, bigint, timestamptz, integer) is
  'Whether a movement asks for nothing but what the fast path knows; the rest is judged under the '
  'lock. Small enough for the planner to inline. Private.';

revoke all on function pgledger._is_plain(text, text, bigint, timestamptz, integer) from public;

-- functions/_is_well_formed.sql

create or replace function pgledger._is_well_formed(
  amount bigint, type pgledger.transaction_type, key text, reference text, metadata jsonb,
  usage jsonb
) returns boolean
language sql immutable parallel safe
return amount > -9223372036854775808 and type is not null
  and case
    when usage is null then amount <> 0
    else type = 'USAGE' and usage ? 'breakdown'
  end
  and (key is null or pgledger._is_key(key))
  and (reference is null or pgledger._is_label(reference))
  and (metadata is null or pgledger._is_metadata(metadata));

comment on function pgledger._is_well_formed(
  bigint, pgledger.transaction_type, text, text, jsonb, jsonb) is
  'Whether _check_request would let a plain movement pass. Small enough for the planner to '
  'inline. Private.';

revoke all on function pgledger._is_well_formed(
  bigint, pgledger.transaction_type, text, text, jsonb, jsonb) from public;

-- functions/_asked.sql

create or replace function pgledger._asked(
  account_id text, amount bigint, type pgledger.transaction_type, key text, shortfall text,
  reference text, metadata jsonb, raise_refusals boolean, usage jsonb
) returns pgledger._request
language plpgsql immutable parallel safe
as $$
declare
  v_request pgledger._request;
begin
  v_request.account_id := _asked.account_id;
  v_request.amount := _asked.amount;
  v_request.type := _asked.type;
  v_request.key := _asked.key;
  v_request.announced := false;
  v_request.shortfall := _asked.shortfall;
  v_request.reference := _asked.reference;
  v_request.metadata := _asked.metadata;
  v_request.raise_refusals := _asked.raise_refusals;
  v_request.usage := _asked.usage;
  return v_request;
end;
$$;

comment on function pgledger._asked(
  text, bigint, pgledger.transaction_type, text, text, text, jsonb, boolean, jsonb) is
  'A movement as asked for, to be posted at once unless the caller says otherwise of it. '
  'Private.';

revoke all on function pgledger._asked(
  text, bigint, pgledger.transaction_type, text, text, text, jsonb, boolean, jsonb) from public;

-- functions/_check_request.sql

create or replace function pgledger._check_request(request pgledger._request) returns void
language plpgsql
as $$
begin
  perform pgledger._checked_account(request.account_id);
  if request.usage ? 'quantities' then
    -- Of a batch, and not priced because it cannot be.
    if request.amount is not null then
      perform pgledger._reject('amount', request.amount::text,
        'The amount of usage is made of its quantities: give null.');
    end if;
    perform pgledger._check_usage(request.usage ->> 'code', request.usage -> 'quantities');
  end if;
  if request.usage is not null and request.type <> 'USAGE' then
    perform pgledger._reject('type', request.type::text, 'What was used is of the type USAGE.');
  end if;

  -- The lowest bigint has no positive twin, and a debit is judged by its positive amount.
  -- Usage may cost nothing, or have no price, which a repeat of it does not ask for.
  if request.usage is null
    and not coalesce(request.amount <> 0 and request.amount > -9223372036854775808, false)
  then
    perform pgledger._reject('amount', request.amount::text,
      'An amount is a whole number of minor units, not 0, within plus or minus 2^63 - 1.');
  end if;
  if request.type is null then
    perform pgledger._reject('type', null, 'Name a pgledger.transaction_type.');
  end if;
  if not coalesce(request.shortfall in ('REFUSE', 'PARTIAL', 'DEBT', 'FORCE'), false) then
    perform pgledger._reject('shortfall', request.shortfall,
      'One of REFUSE, PARTIAL, DEBT, FORCE.');
  end if;
  if request.announced is null then
    perform pgledger._reject('is_active', null, 'true posts at once, false announces.');
  end if;
  if request.announced and request.amount < 0 and request.shortfall = 'FORCE' then
    perform pgledger._reject('fail_insufficient_credits', 'false',
      'A hold reserves credits that are there; only a posted debit may go below the floor.');
  end if;
  if not isfinite(request.expires_at) then
    perform pgledger._reject('expires_at', request.expires_at::text,
      'Give a finite point in time, or none for a hold that stays until it is settled.');
  end if;
  if not isfinite(request.credits_expire_at) then
    perform pgledger._reject('expires_at', request.credits_expire_at::text,
      'Give a finite point in time, or none for credits that never expire.');
  end if;
  if request.amount < 0
    and (request.credits_expire_at is not null or coalesce(request.priority, 0) <> 0)
  then
    perform pgledger._reject(
      case when request.credits_expire_at is null then 'priority' else 'expires_at' end,
      coalesce(request.credits_expire_at::text, request.priority::text),
      'Only credits have a priority and expire; a debit draws from what is there.');
  end if;
  if left(request.key, 1) = '#' then
    perform pgledger._reject('key', request.key,
      'Keys that begin with # are the ledger''s own; choose another.');
  end if;

  perform pgledger._check_labels(
    request.key, request.reference, request.external_id, request.metadata);
end;
$$;

comment on function pgledger._check_request(pgledger._request) is
  'Refuses (22023, 22004) what could never be posted, before anything is locked. Private.';

revoke all on function pgledger._check_request(pgledger._request) from public;

-- functions/_checked_time_zone.sql

create or replace function pgledger._checked_time_zone(time_zone text) returns text
language plpgsql stable
as $$
begin
  if not exists (
    select from pg_catalog.pg_timezone_names z
    where z.name = _checked_time_zone.time_zone collate "default"
  ) then
    perform pgledger._reject('time_zone', _checked_time_zone.time_zone,
      'Use a name of pg_timezone_names, such as UTC or Europe/Berlin.');
  end if;
  return _checked_time_zone.time_zone;
end;
$$;

comment on function pgledger._checked_time_zone(text) is
  'The time zone, or 22023 (22004 for null) when it is not the name of one: abbreviations and '
  'offsets know no summer time. Private.';

revoke all on function pgledger._checked_time_zone(text) from public;

-- functions/_check_assignment.sql

create or replace function pgledger._check_assignment(
  plan text, starts_at timestamptz, at_once boolean, expire_allowance boolean
) returns void
language plpgsql stable
as $$
begin
  if not exists (
    select from pgledger.plans p where p.code = _check_assignment.plan collate "default")
  then
    perform pgledger._reject('plan', _check_assignment.plan,
      'Use the code of a plan, or create it first.');
  end if;
  -- Within these years a date has ten characters.
  if _check_assignment.starts_at not between '0002-01-01Z' and '9000-01-01Z' then
    perform pgledger._reject('starts_at', _check_assignment.starts_at::text,
      'Give a point in time of the years 2 to 8999.');
  end if;
  if _check_assignment.at_once is null then
    perform pgledger._reject('at_once', null, 'true or false.');
  end if;
  if _check_assignment.at_once and _check_assignment.starts_at is not null then
    perform pgledger._reject('starts_at', _check_assignment.starts_at::text,
      'A plan begins at once, or at starts_at: give one of the two.');
  end if;
  if _check_assignment.expire_allowance is null then
    perform pgledger._reject('expire_allowance', null, 'true or false.');
  end if;
  if _check_assignment.expire_allowance and not _check_assignment.at_once then
    perform pgledger._reject('expire_allowance', 'true',
      'An allowance is only ended before its time when the plan changes at once.');
  end if;
end;
$$;

comment on function pgledger._check_assignment(text, timestamptz, boolean, boolean) is
  'Refuses (22023, 22004) what assign_plan cannot be asked. Private.';

revoke all on function
  pgledger._check_assignment(text, timestamptz, boolean, boolean) from public;

-- functions/_number.sql

create or replace function pgledger._number(given jsonb, quoted boolean) returns numeric
language plpgsql immutable parallel safe
as $$
declare
  v_number numeric;
  v_text text;
begin
  if jsonb_typeof(_number.given) = 'number' then
    v_number := _number.given::numeric;
  elsif _number.quoted then
    v_text := _number.given #>> '{}';
    -- No more than two digits of an exponent, so that nothing is too large to be looked at.
    if length(v_text) <= 100
      and v_text ~ '^([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]{1,2})?$'
    then
      v_number := v_text::numeric;
    end if;
  end if;
  v_number := trim_scale(v_number);
  return case when v_number >= 0 and v_number < 1e40 and scale(v_number) <= 40 then v_number end;
end;
$$;

comment on function pgledger._number(jsonb, boolean) is
  'A price or quantity, or null when the value cannot be one: a JSON number, or its digits as a '
  'string where quoted, of 0 or more, with at most 40 digits on either side of the point. Private.';

revoke all on function pgledger._number(jsonb, boolean) from public;

-- functions/_wrong_units.sql

create or replace function pgledger._wrong_units(units jsonb, quoted boolean) returns text
language plpgsql immutable parallel safe
as $$
declare
  v_count bigint;
  v_wrong text;
begin
  if jsonb_typeof(_wrong_units.units) <> 'object' then
    return _wrong_units.units::text;
  end if;
  select count(*), min(e.key || ': ' || e.value) filter (
      where not pgledger._is_label(e.key)
        or pgledger._number(e.value, _wrong_units.quoted) is null)
  into v_count, v_wrong
  from jsonb_each(_wrong_units.units) e;
  return case when v_count > 100 then v_count || ' units' else v_wrong end;
end;
$$;

comment on function pgledger._wrong_units(jsonb, boolean) is
  'What is wrong with prices or quantities: one of their units, or all of it; null when nothing '
  'is. Private.';

revoke all on function pgledger._wrong_units(jsonb, boolean) from public;

-- functions/_check_price_list.sql

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

-- functions/_check_quantities.sql

create or replace function pgledger._check_quantities(quantities jsonb) returns void
language plpgsql immutable parallel safe
as $$
declare
  v_wrong text := pgledger._wrong_units(_check_quantities.quantities, false);
begin
  if _check_quantities.quantities = '{}' then
    v_wrong := '{}';
  end if;
  if _check_quantities.quantities is null or v_wrong is not null then
    perform pgledger._reject('quantities', v_wrong,
      'An object of 1 to 100 units with how many of each were used: a number, 0 or more, '
      'fractions allowed, such as {"input_token": 1200}.');
  end if;
end;
$$;

comment on function pgledger._check_quantities(jsonb) is
  'Refuses (22023, 22004) what cannot be how many of each unit were used. Private.';

revoke all on function pgledger._check_quantities(jsonb) from public;

-- functions/_check_usage.sql

create or replace function pgledger._check_usage(code text, quantities jsonb) returns void
language plpgsql immutable parallel safe
as $$
begin
  if not coalesce(pgledger._is_label(_check_usage.code), false) then
    perform pgledger._reject('code', _check_usage.code,
      'A code has 1 to 255 characters, none of them a control character.');
  end if;
  perform pgledger._check_quantities(_check_usage.quantities);
end;
$$;

comment on function pgledger._check_usage(text, jsonb) is
  'Refuses (22023, 22004) what cannot have been used. Private.';

revoke all on function pgledger._check_usage(text, jsonb) from public;

-- functions/_is_usage.sql

create or replace function pgledger._is_usage(code text, quantities jsonb) returns boolean
language sql immutable parallel safe
return coalesce(
  pgledger._is_label(code) and quantities <> '{}'
  and pgledger._wrong_units(quantities, false) is null, false);

comment on function pgledger._is_usage(text, jsonb) is
  'Whether _check_usage would let it pass. Private.';

revoke all on function pgledger._is_usage(text, jsonb) from public;

-- functions/_rounded.sql

create or replace function pgledger._rounded(exact numeric, rounding pgledger.price_rounding)
returns numeric
language sql immutable parallel safe
return case rounding
  when 'CEIL' then ceil(exact)
  when 'FLOOR' then floor(exact)
  -- round() takes a half up; one too many is one that is odd.
  else round(exact) - case when exact - trunc(exact) = 0.5 then mod(round(exact), 2) else 0 end
end;

comment on function pgledger._rounded(numeric, pgledger.price_rounding) is
  'An exact cost, 0 or more, in whole minor units. Private.';

revoke all on function pgledger._rounded(numeric, pgledger.price_rounding) from public;

-- functions/_price_list_at.sql

create or replace function pgledger._price_list_at(code text, at timestamptz)
returns pgledger.price_lists
language plpgsql stable
as $$
#variable_conflict use_column
declare
  v_list pgledger.price_lists;
begin
  select l.* into v_list
  from pgledger.price_lists l
  where l.code = _price_list_at.code and l.valid_from <= _price_list_at.at
  order by l.valid_from desc
  limit 1;
  return v_list;
end;
$$;

comment on function pgledger._price_list_at(text, timestamptz) is
  'The price list of a code in force at an instant; nulls when there is none. Private.';

revoke all on function pgledger._price_list_at(text, timestamptz) from public;

-- functions/_prices_of.sql

create or replace function pgledger._prices_of(list pgledger.price_lists) returns jsonb
language sql stable
begin atomic
  select coalesce(jsonb_object_agg(p.unit, p.credits_per_unit), '{}')
  from pgledger.prices p
  where p.code = (list).code and p.valid_from = (list).valid_from;
end;

comment on function pgledger._prices_of(pgledger.price_lists) is
  'The credits per unit of a price list, as an object; empty where there is no list. Private.';

revoke all on function pgledger._prices_of(pgledger.price_lists) from public;

-- functions/_no_price.sql

create or replace function pgledger._no_price(
  code text, list pgledger.price_lists, unit text, at timestamptz
) returns jsonb
language plpgsql stable
as $$
#variable_conflict use_column
declare
  v_units jsonb;
  v_detail jsonb := jsonb_build_object('code', _no_price.code);
begin
  select jsonb_agg(p.unit order by p.unit collate "C") into v_units
  from pgledger.prices p
  where p.code = list.code and p.valid_from = list.valid_from;

  -- A list without prices says that the code is no longer sold.
  return jsonb_build_object('refusal', jsonb_build_object('sqlstate', 'LG011',
    'detail', v_detail || case
      when v_units is null then jsonb_build_object('at', pgledger._utc(_no_price.at))
      else jsonb_build_object('unit', _no_price.unit, 'units', v_units)
    end));
end;
$$;

comment on function pgledger._no_price(text, pgledger.price_lists, text, timestamptz) is
  'The refusal of a code without a price at an instant, or of a unit that its list lacks. Private.';

revoke all on function
  pgledger._no_price(text, pgledger.price_lists, text, timestamptz) from public;

-- functions/_priced.sql

-- Two statements: joined, all prices would be read for what the planner takes for 100 units.
create or replace function pgledger._priced(
  code text, quantities jsonb, at timestamptz, out cost bigint, out usage jsonb
)
language plpgsql stable
as $$
#variable_conflict use_column
declare
  v_list pgledger.price_lists := pgledger._price_list_at(_priced.code, _priced.at);
  v_exact numeric;
  v_unit text;
  v_breakdown jsonb;
begin
  select sum(q.quantity * p.credits_per_unit), min(q.unit) filter (where p.unit is null),
    jsonb_object_agg(q.unit, case
      when p.unit is null then jsonb_build_object('quantity', q.quantity)
      else jsonb_build_object('quantity', q.quantity, 'credits_per_unit', p.credits_per_unit,
        'credits', trim_scale(q.quantity * p.credits_per_unit))
    end)
  into v_exact, v_unit, v_breakdown
  from (
    select e.key as unit, trim_scale(e.value::numeric) as quantity
    from jsonb_each(_priced.quantities) e
  ) q
  left join pgledger.prices p
    on p.code = v_list.code and p.valid_from = v_list.valid_from and p.unit = q.unit;

  usage := jsonb_build_object('code', _priced.code, 'breakdown', v_breakdown);
  if v_unit is not null then
    usage := usage || pgledger._no_price(_priced.code, v_list, v_unit, _priced.at);
    return;
  end if;

  v_exact := trim_scale(v_exact);
  if pgledger._rounded(v_exact, v_list.rounding) > 9223372036854775807 then
    usage := usage || jsonb_build_object('refusal', jsonb_build_object('sqlstate', '22003',
      'detail', jsonb_build_object('code', _priced.code, 'exact', v_exact)));
    return;
  end if;
  cost := pgledger._rounded(v_exact, v_list.rounding)::bigint;
  usage := usage || jsonb_build_object('valid_from', pgledger._utc(v_list.valid_from),
    'rounding', v_list.rounding, 'exact', v_exact);
end;
$$;

comment on function pgledger._priced(text, jsonb, timestamptz) is
  'What usage costs by the price list in force at an instant, and the record of it. Where it has '
  'no price (LG011), or one beyond bigint (22003), cost is null and the record says why, as '
  'refusal; nothing is raised, because a repeat of it is answered all the same. The caller has '
  'checked code and quantities. Private.';

revoke all on function pgledger._priced(text, jsonb, timestamptz) from public;

-- functions/_quantities_of.sql

create or replace function pgledger._quantities_of(usage jsonb) returns jsonb
language sql immutable parallel safe
begin atomic
  select jsonb_object_agg(e.key, e.value -> 'quantity')
  from jsonb_each(_quantities_of.usage -> 'breakdown') e;
end;

comment on function pgledger._quantities_of(jsonb) is
  'How many of each unit were used, of the record of usage; null stays null. Private.';

revoke all on function pgledger._quantities_of(jsonb) from public;

-- functions/_usage_told.sql

create or replace function pgledger._usage_told(usage jsonb) returns jsonb
language sql immutable parallel safe
return case when usage is not null then jsonb_build_object(
  'code', usage -> 'code', 'quantities', pgledger._quantities_of(usage)) end;

comment on function pgledger._usage_told(jsonb) is
  'What makes two calls the same usage, of the record of it; null stays null. Private.';

revoke all on function pgledger._usage_told(jsonb) from public;

-- functions/_due.sql

create or replace function pgledger._due(hot pgledger.balances, at timestamptz)
returns setof pgledger._movement
language plpgsql stable
as $$
declare
  v_all pgledger._movement[] := '{}'::pgledger._movement[];
  v_balance bigint := hot.balance;
  v_due pgledger._movement;
  v_wanted numeric;
  v_pool numeric := coalesce(hot.pool, hot.balance)::numeric;
  v_debt numeric;
begin
  -- Asked one by one: in one query with a condition the planner would plan it anew each time.
  if hot.pool is not null then
    v_all := array(
      select row(e.due_at, e.lot, null, -e.amount, null, null, null, null)::pgledger._movement
      from pgledger._expiries_due(hot, _due.at) e);
  end if;
  v_all := v_all || array(
    select row(r.due_at, null, r.key, r.amount, r.policy, r.expires_at, r.metadata, null)
      ::pgledger._movement
    from pgledger._refills_due(hot.account_id, _due.at, v_pool < 0) r);

  for v_due in select m.* from unnest(v_all) m order by m.due_at, m.lot nulls last loop
    if v_due.lot is null then
      v_wanted := v_due.amount::numeric;
      v_debt := greatest(-v_pool, 0);
      if v_due.policy = 'TOP_UP_TO' then
        v_wanted := greatest(v_wanted - v_balance, 0);
      elsif v_due.expires_at <= _due.at then
        -- An allowance of a period that is over: all that is left of it is the debt that it paid.
        v_wanted := least(v_wanted, v_debt);
      end if;
      -- Settling never fails: of a refill that the range of bigint has no room for, what fits.
      v_due.amount := least(
        v_wanted, 9223372036854775807::numeric - greatest(v_balance, 0))::bigint;
      continue when v_due.amount = 0;
      if v_due.policy = 'RESET' then
        v_due.to_lot := greatest(v_due.amount - v_debt, 0)::bigint;
      end if;
      v_pool := v_pool + v_due.amount - coalesce(v_due.to_lot, 0);
    end if;
    v_balance := v_balance + v_due.amount;
    return next v_due;
  end loop;
end;
$$;

comment on function pgledger._due(pgledger.balances, timestamptz) is
  'The movements that fell due on an account up to an instant and are not posted yet, in the '
  'order they fell due: expiries (amount below 0, of a lot) and refills (amount above 0, with a '
  'key). Private.';

revoke all on function pgledger._due(pgledger.balances, timestamptz) from public;

-- functions/_record.sql

create or replace function pgledger._record(
  request pgledger._request, hot pgledger.balances, applied bigint, sources pgledger._sources
) returns void
language plpgsql
as $$
declare
  v_several boolean := coalesce(cardinality(sources.lots) > 1, false);
begin
  insert into pgledger.transactions (
    account_id, seq, amount, running_balance, requested_amount, created_at, type, key, reference,
    external_id, metadata, original_seq, counterparty, counterparty_seq, lot,
    usage)
  values (
    request.account_id, hot.seq, _record.applied, hot.balance,
    nullif(request.amount, _record.applied), hot.updated_at, request.type, request.key,
    request.reference, request.external_id, request.metadata, request.original_seq,
    request.counterparty, request.counterparty_seq,
    case when v_several then 0 else sources.lots[1] end, request.usage);

  if v_several then
    insert into pgledger.draws (account_id, seq, place, lot, amount)
    select request.account_id, hot.seq, s.place, s.lot, s.amount
    from unnest(sources.lots, sources.amounts) with ordinality s (lot, amount, place);
  end if;
end;
$$;

comment on function pgledger._record(
  pgledger._request, pgledger.balances, bigint, pgledger._sources) is
  'Writes a movement into the journal, and its draws beside it where several sources paid. hot '
  'is the balance row right after the movement. Private.';

revoke all on function
  pgledger._record(pgledger._request, pgledger.balances, bigint, pgledger._sources) from public;

-- functions/_as_posting.sql

create or replace function pgledger._as_posting(
  posted pgledger.transactions, pending pgledger.pending_transactions, hot pgledger.balances,
  replayed boolean
) returns pgledger.posting
language plpgsql stable
as $$
begin
  if posted.seq is not null then
    return row(
      posted.account_id, coalesce(posted.key, '#' || posted.seq), posted.seq, posted.type,
      posted.amount, coalesce(posted.requested_amount, posted.amount), posted.running_balance,
      hot.balance, hot.balance - hot.held, 'POSTED', _as_posting.replayed, null, posted.created_at,
      null
    )::pgledger.posting;
  end if;

  return row(
    pending.account_id, pending.key, null, pending.type,
    pending.amount, coalesce(pending.requested_amount, pending.amount), null,
    hot.balance, hot.balance - hot.held, pending.status, _as_posting.replayed, null,
    pending.created_at, null
  )::pgledger.posting;
end;
$$;

comment on function pgledger._as_posting(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances, boolean) is
  'A recorded movement as the answer of a call: the posted one, else the pending one. Private.';

revoke all on function pgledger._as_posting(
  pgledger.transactions, pgledger.pending_transactions, pgledger.balances, boolean) from public;

-- functions/_words.sql

create or replace function pgledger._words(code text, out message text, out hint text)
language plpgsql immutable parallel safe
as $$
#variable_conflict use_column
begin
  select w.message, w.hint into strict message, hint
  from (values
    ('LG001', 'insufficient credits', 'Top up, spend less, or spend what is there with PARTIAL.'),
    ('LG002', 'idempotency conflict', 'A retry must repeat its call; a new movement needs a new '
      'key and external_id. To make an announced movement effective, enable it.'),
    ('LG003', 'account not found', 'Open the account first, or check its id.'),
    ('LG004', 'account not open', 'See set_account_status.'),
    ('LG005', 'ceiling reached', 'Spend first, or raise ceiling_balance.'),
    ('LG006', 'transaction not found', 'Check the account and the key.'),
    ('LG007', 'transaction not pending', 'It was settled before, or has expired: see its status. '
      'Only money that came late is still enabled, with its external_id.'),
    ('LG008', 'spending cap reached', 'Wait until the cap resets, or raise it: see '
      'set_spending_cap.'),
    ('LG009', 'exceeds original', 'At most what remains of it can be captured, refunded or '
      'reversed.'),
    ('LG011', 'price not found', 'Set the price with set_price, or check the code, the unit and '
      'the instant.'),
    ('22003', 'cost out of range', 'A cost is a bigint, at most 2^63 - 1 minor units: check the '
      'quantities and the prices.')
  ) w (code, message, hint)
  where w.code = _words.code;
end;
$$;

comment on function pgledger._words(text) is
  'What a refusal says: its message and its hint. Private.';

revoke all on function pgledger._words(text) from public;

-- functions/_refuse.sql

create or replace function pgledger._refuse(
  request pgledger._request, hot pgledger.balances, code text, detail jsonb
) returns pgledger.posting
language plpgsql
as $$
declare
  v_message text;
  v_hint text;
  v_detail jsonb :=
    jsonb_build_object('account_id', request.account_id, 'key', request.key) || _refuse.detail;
  v_hot pgledger.balances;
begin
  select w.message, w.hint into v_message, v_hint
  from pgledger._words(_refuse.code) w;

  if request.raise_refusals is not false then
    raise exception using
      errcode = _refuse.code, message = v_message, detail = v_detail::text, hint = v_hint;
  end if;

  v_hot := pgledger._settle_due(hot);
  perform pgledger._forget_unopened(request.account_id);
  return row(
    request.account_id, request.key, null, request.type, 0, request.amount, null,
    v_hot.balance, v_hot.balance - v_hot.held, 'REFUSED', false, _refuse.code, null,
    jsonb_build_object('message', v_message, 'detail', v_detail, 'hint', v_hint)
  )::pgledger.posting;
end;
$$;

comment on function pgledger._refuse(pgledger._request, pgledger.balances, text, jsonb) is
  'The one place that refuses: raises the LG code with its words and detail, or returns it as a '
  'row when raise_refusals is false. Private.';

revoke all on function
  pgledger._refuse(pgledger._request, pgledger.balances, text, jsonb) from public;

-- functions/_refuse_price.sql

create or replace function pgledger._refuse_price(usage jsonb) returns void
language plpgsql immutable
as $$
declare
  v_code text := _refuse_price.usage #>> '{refusal,sqlstate}';
  v_message text;
  v_hint text;
begin
  select w.message, w.hint into v_message, v_hint
  from pgledger._words(v_code) w;
  raise exception using
    errcode = v_code, message = v_message, hint = v_hint,
    detail = (_refuse_price.usage #> '{refusal,detail}')::text;
end;
$$;

comment on function pgledger._refuse_price(jsonb) is
  'Raises the refusal in the record of usage that has no price, where no account is asked of '
  'anything. Private.';

revoke all on function pgledger._refuse_price(jsonb) from public;

-- functions/_conflict.sql

create or replace function pgledger._conflict(
  request pgledger._request, hot pgledger.balances,
  posted pgledger.transactions, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_lot pgledger.lots;
begin
  select l.* into v_lot
  from pgledger.lots l
  where l.account_id = posted.account_id and l.seq = posted.seq;
  return pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
    'recorded', jsonb_build_object(
      'key', coalesce(posted.key, pending.key, '#' || posted.seq),
      'type', coalesce(posted.type, pending.type),
      'amount', coalesce(
        posted.requested_amount, posted.amount, pending.requested_amount, pending.amount),
      'external_id', coalesce(posted.external_id, pending.external_id),
      'expires_at', coalesce(pending.expires_at, pending.credits_expire_at,
        nullif(v_lot.granted_expires_at, 'infinity')),
      'priority', coalesce(pending.priority, v_lot.priority, 0),
      'original', '#' || posted.original_seq,
      'counterparty', posted.counterparty,
      'usage', pgledger._usage_told(
        case when pending.key is null then posted.usage else pending.usage end),
      'status', coalesce(
        case when posted.seq is not null then 'POSTED' end, pending.status::text)),
    'given', jsonb_build_object(
      'key', request.key,
      'type', request.type,
      'amount', request.amount,
      'external_id', request.external_id,
      'expires_at', coalesce(request.expires_at, request.credits_expire_at),
      'priority', coalesce(request.priority, 0),
      'original', '#' || request.original_seq,
      'counterparty', request.counterparty,
      'usage', pgledger._usage_told(request.usage),
      'announced', request.announced)));
end;
$$;

comment on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions) is
  'Refuses with LG002 and shows what is recorded beside what was given. Private.';

revoke all on function pgledger._conflict(
  pgledger._request, pgledger.balances, pgledger.transactions, pgledger.pending_transactions)
  from public;

-- functions/_replay.sql

create or replace function pgledger._replay(request pgledger._request, hot pgledger.balances)
returns pgledger.posting
language plpgsql
as $$
declare
  v_posted pgledger.transactions;
  v_pending pgledger.pending_transactions;
begin
  if request.key is not null then
    select t.* into v_posted
    from pgledger.transactions t
    where t.account_id = request.account_id and t.key = request.key;

    select p.* into v_pending
    from pgledger.pending_transactions p
    where p.account_id = request.account_id and p.key = request.key;
    v_pending.status :=
      pgledger._pending_status(v_pending.status, v_pending.expires_at, hot.updated_at);
  end if;

  if v_posted.seq is null and v_pending.key is null then
    return pgledger._replay_external_id(request, hot);
  end if;

  -- An announcement that was enabled is still repeated as the announcement it was.
  if request.announced = (v_pending.key is not null)
    and request.type = coalesce(v_pending.type, v_posted.type)
    and pgledger._usage_told(request.usage) is not distinct from pgledger._usage_told(
      case when v_pending.key is null then v_posted.usage else v_pending.usage end)
    -- The same usage is the same call: what it costs may have changed since.
    and (request.usage is not null or request.amount = coalesce(
      v_pending.requested_amount, v_pending.amount, v_posted.requested_amount, v_posted.amount))
    and request.original_seq is not distinct from v_posted.original_seq
    and request.counterparty is not distinct from v_posted.counterparty
    and request.expires_at is not distinct from v_pending.expires_at
    and pgledger._same_lot(request, v_posted, v_pending)
    and (
      request.external_id is null
      or coalesce(v_posted.external_id, v_pending.external_id) is null
      or request.external_id in (v_posted.external_id, v_pending.external_id))
  then
    return pgledger._as_replay(v_posted, v_pending, hot);
  end if;

  return pgledger._conflict(request, hot, v_posted, v_pending);
end;
$$;

comment on function pgledger._replay(pgledger._request, pgledger.balances) is
  'The original of a repeated key or external_id; LG002 when that was for something else; null '
  'when this is new. Only under the lock of the balance row. Private.';

revoke all on function pgledger._replay(pgledger._request, pgledger.balances) from public;

-- functions/_judge_debit.sql

create or replace function pgledger._judge_debit(
  request pgledger._request, hot pgledger.balances, min_balance bigint, debt_floor bigint,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql
as $$
declare
  v_floor bigint := case request.shortfall
    when 'DEBT' then _judge_debit.debt_floor
    else _judge_debit.min_balance
  end;
  v_room numeric := hot.balance::numeric - hot.held - v_floor;
  v_cap bigint := case when request.type = 'USAGE' then hot.cap_left end;
  v_most numeric := least(v_room, v_cap);
begin
  if request.expires_at <= hot.updated_at then
    perform pgledger._reject('expires_at', request.expires_at::text,
      'A hold expires in the future.');
  end if;

  -- An amount of 0 comes here only for an account that is not there.
  if request.shortfall = 'FORCE' or (v_most >= -request.amount and request.amount < 0) then
    applied := request.amount;
    perform pgledger._check_range(request, hot, applied);
  elsif request.shortfall = 'PARTIAL' and v_most > 0 then
    applied := (-v_most)::bigint;
  -- The cap first: nobody should be told to top up for what is capped anyway.
  elsif v_cap < (case when request.shortfall = 'PARTIAL' then 1 else -request.amount end) then
    code := 'LG008';
    select jsonb_build_object(
      'cap', c.amount,
      'used', c.amount::numeric - v_cap,
      'remaining', v_cap,
      'requested', -request.amount,
      'resets_at', to_char(c.resets_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
    into detail
    from pgledger.spending_caps c
    where c.account_id = request.account_id;
  else
    code := 'LG001';
    detail := jsonb_build_object(
      'balance', hot.balance,
      'held', hot.held,
      'available', hot.balance - hot.held,
      'floor', v_floor,
      'requested', -request.amount,
      'missing', -request.amount - v_room);
  end if;
end;
$$;

comment on function pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) is
  'How much of a debit applies: all of it above the floor and within the spending cap, what both '
  'leave with PARTIAL, any amount with FORCE; else LG001, or LG008 for the cap; 22003 when the '
  'balance would leave the range of bigint. Private.';

revoke all on function
  pgledger._judge_debit(pgledger._request, pgledger.balances, bigint, bigint) from public;

-- functions/_judge.sql

create or replace function pgledger._judge(
  request pgledger._request, hot pgledger.balances,
  out applied bigint, out code text, out detail jsonb
)
language plpgsql
as $$
declare
  v_account pgledger.accounts;
  v_left bigint;
begin
  if request.amount is null then
    code := request.usage #>> '{refusal,sqlstate}';
    detail := request.usage #> '{refusal,detail}';
    return;
  end if;

  select a.* into v_account
  from pgledger.accounts a
  where a.account_id = request.account_id;

  if v_account.status = 'CLOSED'
    or (v_account.status = 'FROZEN' and request.amount <= 0 and request.shortfall <> 'FORCE')
  then
    code := 'LG004';
    detail := jsonb_build_object('status', v_account.status, 'requested', request.amount);
    return;
  end if;

  if request.original_seq is not null then
    v_left := pgledger._original_left(request.account_id, request.original_seq);
    if abs(request.amount) > v_left then
      code := 'LG009';
      detail := jsonb_build_object(
        'original', '#' || request.original_seq,
        'remaining', v_left,
        'requested', abs(request.amount));
      return;
    end if;
  end if;

  if request.amount > 0 then
    select c.applied, c.code, c.detail into applied, code, detail
    from pgledger._judge_credit(request, hot) c;
  elsif request.amount = 0 and (v_account.account_id is not null or hot.seq > 0) then
    applied := 0;
  else
    select d.applied, d.code, d.detail into applied, code, detail
    from pgledger._judge_debit(
      request, hot, coalesce(v_account.min_balance, 0), coalesce(v_account.debt_floor, 0)) d;
  end if;
end;
$$;

comment on function pgledger._judge(pgledger._request, pgledger.balances) is
  'Decides a new movement under the lock: the amount that applies, or the code and detail of its '
  'refusal. Private.';

revoke all on function pgledger._judge(pgledger._request, pgledger.balances) from public;

-- functions/_apply.sql

create or replace function pgledger._apply(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_answer pgledger.posting;
  v_released bigint := coalesce(request.released, 0);
begin
  perform pgledger._open_if_new(request.account_id);
  v_hot := pgledger._enter(request, hot, _apply.applied);
  v_answer := row(
    request.account_id, coalesce(request.key, '#' || v_hot.seq), v_hot.seq, request.type,
    _apply.applied, request.amount, v_hot.balance, null, null, 'POSTED', false, null,
    v_hot.updated_at, null)::pgledger.posting;

  if v_hot.pool is not null and (_apply.applied > 0 or v_released > 0) then
    v_hot := pgledger._expire_ended(v_hot);
  end if;
  perform pgledger._write_balance(v_hot, -v_released);

  v_answer.balance := v_hot.balance;
  v_answer.available := v_hot.balance - v_hot.held;
  if _apply.applied < 0
    and pgledger._is_low(
      v_answer.available, _apply.applied + v_released, v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, _apply.applied + v_released, request.reference);
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._apply(pgledger._request, pgledger.balances, bigint) is
  'Posts what was judged, under the lock. Private.';

revoke all on function pgledger._apply(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_announce.sql

create or replace function pgledger._announce(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_pending pgledger.pending_transactions;
  v_reserved bigint := greatest(-_announce.applied, 0);
  v_answer pgledger.posting;
begin
  perform pgledger._open_if_new(request.account_id);

  insert into pgledger.pending_transactions as p (
    account_id, key, amount, requested_amount, created_at, type, reference, external_id, metadata,
    expires_at, credits_expire_at, priority, usage)
  values (
    request.account_id, coalesce(request.key, '#' || gen_random_uuid()), _announce.applied,
    nullif(request.amount, _announce.applied), hot.updated_at, request.type,
    request.reference, request.external_id, request.metadata, request.expires_at,
    request.credits_expire_at, nullif(request.priority, 0), request.usage)
  returning p.* into v_pending;

  if v_reserved > 0 and hot.pool is not null then
    v_hot := pgledger._reserve(hot, v_pending.key, v_reserved);
  end if;
  v_hot.held := hot.held + v_reserved;
  v_hot.attention_at := least(hot.attention_at, request.expires_at);
  update pgledger.balances b
  set pending_rows = b.pending_rows + 1
  where b.account_id = request.account_id;
  perform pgledger._write_balance(v_hot, v_reserved);

  v_answer := pgledger._as_posting(null, v_pending, v_hot, false);
  if v_reserved > 0
    and pgledger._is_low(
      v_answer.available, _announce.applied, v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, _announce.applied, request.reference);
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._announce(pgledger._request, pgledger.balances, bigint) is
  'Records what was judged as a pending transaction, under the lock; a debit reserves what it '
  'announces. Private.';

revoke all on function pgledger._announce(pgledger._request, pgledger.balances, bigint) from public;

-- functions/_post_locked.sql

create or replace function pgledger._post_locked(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_hot pgledger.balances;
  v_answer pgledger.posting;
  v_applied bigint;
  v_code text;
  v_detail jsonb;
begin
  -- A repeat is answered before anything is judged: it asks for nothing.
  v_answer := pgledger._replay(request, hot);
  if v_answer.status is not null then
    perform pgledger._forget_unopened(request.account_id);
    return v_answer;
  end if;

  v_hot := pgledger._settle_due(hot);
  -- Not asked again when an announced payment is enabled: who paid late is credited all the same.
  if request.credits_expire_at <= v_hot.updated_at then
    perform pgledger._reject('expires_at', request.credits_expire_at::text,
      'Credits expire in the future.');
  elsif request.announced and request.amount = 0 then
    perform pgledger._reject('quantities', (request.usage -> 'breakdown')::text,
      'What costs nothing needs no hold: spend it when it was used.');
  end if;
  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(request, v_hot) j;

  if v_code is not null then
    return pgledger._refuse(request, v_hot, v_code, v_detail);
  elsif request.announced then
    return pgledger._announce(request, v_hot, v_applied);
  else
    return pgledger._apply(request, v_hot, v_applied);
  end if;
end;
$$;

comment on function pgledger._post_locked(pgledger._request, pgledger.balances) is
  'Replays, or posts what is due, judges, and records or refuses, on what is seen under the lock. '
  'Private.';

revoke all on function pgledger._post_locked(pgledger._request, pgledger.balances) from public;

-- functions/_post.sql

-- The hot path. The guarded UPDATE decides: it takes the row lock, re-checks its condition on the
-- newest row after any wait, and only adds, so that what it did can be taken back when the key
-- turns out to be taken (a subtransaction would cost more than both statements).
--
-- PL/pgSQL sets each expression up anew in each transaction, so conditions are nested rather than
-- joined by AND: what was not given costs nothing. ON CONFLICT writes 40 percent more WAL
-- (its insertion is confirmed afterwards), so a movement without a key does without.
create or replace function pgledger._post(
  account_id text, amount bigint, type pgledger.transaction_type, key text, reference text,
  metadata jsonb, shortfall text, raise_refusals boolean, usage jsonb
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_balance bigint;
  v_available bigint;
  v_seq bigint;
  v_lot bigint;
  v_pending_rows bigint;
  v_created_at timestamptz;
  v_is_low boolean;
  v_answer pgledger.posting;
begin
  <<try>>
  begin
    if _post.key is not null then exit try when not pgledger._is_key(_post.key); end if;
    if _post.reference is not null or _post.metadata is not null then
      exit try when not (
        pgledger._is_label(_post.reference) and pgledger._is_metadata(_post.metadata));
    end if;
    update pgledger.balances b
    set balance = b.balance + _post.amount, seq = b.seq + 1,
        updated_at = greatest(b.updated_at, v_now),
        pool = b.pool + case when b.head_lot is null then _post.amount else 0 end,
        head_left = b.head_left + _post.amount, cap_left = b.cap_left + least(_post.amount, 0)
    where b.account_id = _post.account_id and b.attention_at > greatest(b.updated_at, v_now)
      and pgledger._allows(b.balance, b.held, b.floor, _post.amount)
      and pgledger._fits(b.head_lot, b.head_left, b.cap_left, _post.amount, _post.type = 'USAGE')
    returning b.balance, b.balance - b.held, b.seq, b.pending_rows, b.updated_at, b.head_lot,
      _post.amount < 0
      and pgledger._is_low(b.balance - b.held, _post.amount, b.low_below, b.top_up_below)
    into v_balance, v_available, v_seq, v_pending_rows, v_created_at, v_lot, v_is_low;
    exit try when not found;
    <<once>>
    begin
      if _post.key is null then
        insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at,
          type, reference, metadata, lot, usage)
        values (_post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata, v_lot, _post.usage);
      else
        if v_pending_rows > 0 then
          exit once when exists (select from pgledger.pending_transactions p
            where p.account_id = _post.account_id and p.key = _post.key);
        end if;
        insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at,
          type, reference, metadata, lot, usage, key)
        values (_post.account_id, v_seq, _post.amount, v_balance, v_created_at, _post.type,
          _post.reference, _post.metadata, v_lot, _post.usage, _post.key)
        on conflict (account_id, key) where key is not null do nothing;
        exit once when not found;
      end if;
      v_answer := row(_post.account_id, coalesce(_post.key, '#' || v_seq), v_seq, _post.type,
        _post.amount, _post.amount, v_balance, v_balance, v_available, 'POSTED', false, null,
        v_created_at, null)::pgledger.posting;
      return case when v_is_low
        then pgledger._watched(v_answer, _post.amount, _post.reference) else v_answer end;
    end;
    perform pgledger._take_back(_post.account_id, _post.amount);
  end;
  return pgledger._post_under_lock(pgledger._asked(
    _post.account_id, _post.amount, _post.type, _post.key, _post.shortfall, _post.reference,
    _post.metadata, _post.raise_refusals, _post.usage));
end;
$$;

comment on function pgledger._post(
  text, bigint, pgledger.transaction_type, text, text, jsonb, text, boolean, jsonb) is
  'Posts a plain movement in two statements when everything allows it, and otherwise judges it '
  'under the lock. The caller has checked amount (not 0, not the lowest bigint), type and '
  'shortfall; of usage the amount may be 0 or, where it has no price, null. Private.';

revoke all on function pgledger._post(
  text, bigint, pgledger.transaction_type, text, text, jsonb, text, boolean, jsonb) from public;

-- functions/_hold.sql

-- The fast path of a hold, as _post is that of a posting: one guarded UPDATE decides and only adds,
-- so that it can be taken back when the key turns out to be taken.
create or replace function pgledger._hold(
  account_id text, amount bigint, key text, expires_at timestamptz, reference text,
  metadata jsonb, raise_refusals boolean, usage jsonb
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_key text := _hold.key;
  v_balance bigint;
  v_available bigint;
  v_lot bigint;
  v_is_low boolean;
  v_answer pgledger.posting;
  v_request pgledger._request;
begin
  <<try>>
  begin
    if _hold.key is not null then exit try when not pgledger._is_key(_hold.key); end if;
    if _hold.reference is not null or _hold.metadata is not null then
      exit try when not (
        pgledger._is_label(_hold.reference) and pgledger._is_metadata(_hold.metadata));
    end if;
    exit try when not (_hold.expires_at > v_now and _hold.expires_at < 'infinity');
    update pgledger.balances b
    set held = b.held + _hold.amount, pending_rows = b.pending_rows + 1,
        attention_at = least(b.attention_at, _hold.expires_at),
        held_in_lots = b.held_in_lots + case when b.head_lot is null then 0 else _hold.amount end,
        head_left = b.head_left - _hold.amount
    where b.account_id = _hold.account_id and b.attention_at > v_now
      and b.held <= 9223372036854775807 - _hold.amount
      and pgledger._allows(b.balance, b.held, b.floor, -_hold.amount)
      and pgledger._fits(b.head_lot, b.head_left, b.cap_left, -_hold.amount, true)
    returning b.balance, b.balance - b.held, b.head_lot, pgledger._is_low(
      b.balance - b.held, -_hold.amount, b.low_below, b.top_up_below)
    into v_balance, v_available, v_lot, v_is_low;
    exit try when not found;
    <<once>>
    begin
      exit once when _hold.expires_at <= clock_timestamp();
      if v_key is null then
        v_key := '#' || gen_random_uuid();
      else
        exit once when exists (
          select from pgledger.transactions t
          where t.account_id = _hold.account_id and t.key = _hold.key);
      end if;
      insert into pgledger.pending_transactions (
        account_id, key, amount, created_at, type, reference, metadata, expires_at, lot, usage)
      values (
        _hold.account_id, v_key, -_hold.amount, v_now, 'USAGE', _hold.reference, _hold.metadata,
        _hold.expires_at, v_lot, _hold.usage)
      on conflict (account_id, key) do nothing;
      exit once when not found;
      v_answer := row(_hold.account_id, v_key, null, 'USAGE', -_hold.amount, -_hold.amount, null,
        v_balance, v_available, 'PENDING', false, null, v_now, null)::pgledger.posting;
      return case when v_is_low
        then pgledger._watched(v_answer, -_hold.amount, _hold.reference) else v_answer end;
    end;
    perform pgledger._take_back_hold(_hold.account_id, _hold.amount);
  end;
  v_request := pgledger._asked(
    _hold.account_id, -_hold.amount, 'USAGE', _hold.key, 'REFUSE', _hold.reference, _hold.metadata,
    _hold.raise_refusals, _hold.usage);
  v_request.announced := true;
  v_request.expires_at := _hold.expires_at;
  return pgledger._post_under_lock(v_request);
end;
$$;

comment on function pgledger._hold(text, bigint, text, timestamptz, text, jsonb, boolean, jsonb) is
  'Reserves credits in two statements when everything allows it, and otherwise judges the hold '
  'under the lock. The caller has checked amount (above 0). Private.';

revoke all on function
  pgledger._hold(text, bigint, text, timestamptz, text, jsonb, boolean, jsonb) from public;

-- functions/_capture.sql

-- The fast path of a capture. The UPDATE of the balance row takes the lock with what the hold said
-- before; whether the hold is still open is then decided under the lock, by the clock read under
-- it, and if it is not, what the UPDATE did is taken back. What a hold says of its usage is that
-- of a capture of all of it; another amount is of other usage, which the caller gives, or of none.
create or replace function pgledger._capture(
  account_id text, key text, amount bigint, usage jsonb
) returns pgledger.posting
language plpgsql
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_held bigint;
  v_type pgledger.transaction_type;
  v_reference text;
  v_external_id text;
  v_metadata jsonb;
  v_lot bigint;
  v_usage jsonb;
  v_amount bigint;
  v_balance bigint;
  v_available bigint;
  v_seq bigint;
  v_created_at timestamptz;
  v_is_low boolean;
  v_answer pgledger.posting;
begin
  select -p.amount, p.type, p.reference, p.external_id, p.metadata, p.lot,
    coalesce(_capture.usage, case when _capture.amount < -p.amount then null else p.usage end)
  into v_held, v_type, v_reference, v_external_id, v_metadata, v_lot, v_usage
  from pgledger.pending_transactions p
  where p.account_id = _capture.account_id and p.key = _capture.key
    and p.status = 'PENDING' and p.amount < 0 and (p.lot > 0 or p.lot is null);
  if not found then return null; end if;
  v_amount := coalesce(-_capture.amount, -v_held);
  if v_amount < -v_held then return null; end if;

  update pgledger.balances b
  set balance = b.balance + v_amount, seq = b.seq + 1, updated_at = greatest(b.updated_at, v_now),
      held = b.held - v_held,
      pool = b.pool + case when v_lot is null then v_amount else 0 end,
      held_in_lots = b.held_in_lots - case when v_lot is null then 0 else v_held end,
      head_left = b.head_left + (v_held + v_amount),
      cap_left = b.cap_left + case when v_type = 'USAGE' then v_amount else 0 end
  where b.account_id = _capture.account_id and b.attention_at > greatest(b.updated_at, v_now)
    and b.held >= v_held and coalesce(b.cap_left, 0) >= 0
    -- What is not captured goes back to the head, or else the slow way finds where.
    and (v_amount = -v_held or b.head_lot is not distinct from v_lot)
  returning b.balance, b.balance - b.held, b.seq, b.updated_at, pgledger._is_low(
    b.balance - b.held, v_amount + v_held, b.low_below, b.top_up_below)
  into v_balance, v_available, v_seq, v_created_at, v_is_low;
  if not found then return null; end if;

  v_now := clock_timestamp();
  update pgledger.pending_transactions p set status = 'ENABLED', settled_at = v_now
  where p.account_id = _capture.account_id and p.key = _capture.key
    and p.status = 'PENDING' and (p.expires_at > v_now or p.expires_at is null);
  if not found then
    perform pgledger._take_back_capture(
      _capture.account_id, v_amount, v_held, v_lot, v_type = 'USAGE');
    return null;
  end if;

  insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at, type,
    key, reference, external_id, metadata, lot, usage)
  values (_capture.account_id, v_seq, v_amount, v_balance, v_created_at, v_type, _capture.key,
    v_reference, v_external_id, v_metadata, v_lot, v_usage);

  v_answer := row(_capture.account_id, _capture.key, v_seq, v_type, v_amount, v_amount, v_balance,
    v_balance, v_available, 'POSTED', false, null, v_created_at, null)::pgledger.posting;
  return case when v_is_low
    then pgledger._watched(v_answer, v_amount + v_held, v_reference) else v_answer end;
end;
$$;

comment on function pgledger._capture(text, text, bigint, jsonb) is
  'Captures an open hold, of amount > 0 or whole, when nothing is in the way, else null and '
  'nothing done. Private.';

revoke all on function pgledger._capture(text, text, bigint, jsonb) from public;

-- functions/_lock_balances.sql

-- Everybody locks several accounts in this order, so nobody waits in a circle: the sort comes
-- before the first lock. A row that is missing is made where its turn comes, so then they go one by
-- one. No plan but by index: one made while the table was small would be kept.
create or replace function pgledger._lock_balances(
  account_ids text[], out hots pgledger.balances[], out places tid[], out missing text[]
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_wanted text[] := array(
    select distinct u.account_id
    from unnest(_lock_balances.account_ids) u (account_id)
    where u.account_id is not null);
  v_account_id text;
begin
  missing := '{}';
  if cardinality(v_wanted) > (
    select count(*) from pgledger.balances b where b.account_id = any (v_wanted))
  then
    missing := array(
      select u.account_id
      from unnest(v_wanted) u (account_id)
      where not exists (select from pgledger.balances b where b.account_id = u.account_id));
    for v_account_id in
      select u.account_id
      from unnest(v_wanted) u (account_id)
      where pgledger._is_label(u.account_id)
      order by u.account_id collate "C"
    loop
      perform pgledger._lock_balance(v_account_id);
    end loop;
  end if;

  select array_agg(l.hot), array_agg(l.place) into hots, places
  from (
    select b as hot, b.ctid as place
    from pgledger.balances b
    where b.account_id = any (v_wanted)
    order by b.account_id collate "C"
    for update
  ) l;
end;
$$;

comment on function pgledger._lock_balances(text[]) is
  'Locks the balance rows of several accounts, in collate "C" order, making those that are '
  'missing: the rows, where they are, and which accounts had none. What can be no account id is '
  'passed over. Private.';

revoke all on function pgledger._lock_balances(text[]) from public;

-- functions/_weigh.sql

-- Before anything is locked, so that nobody waits for it. In bigint, where no sum of a batch
-- reaches 2^61: who moves more is looked at one by one.
create or replace function pgledger._weigh(requests pgledger._request[]) returns pgledger._item[]
language plpgsql immutable
set jit = off
as $$
declare
  v_most bigint := 2305843009213693952 / greatest(cardinality(requests), 1);
begin
  return array(
    with asked as materialized (
      select r.*, case when r.amount between -v_most and v_most then r.amount end as small
      from unnest(requests) with ordinality r (
        account_id, amount, type, key, announced, ceiling_balance, shortfall, reference,
        external_id, metadata, raise_refusals, expires_at, original_seq, counterparty,
        counterparty_seq, released, credits_expire_at, priority, extend, usage, item)
    ), repeated as materialized (
      select a.account_id, a.key from asked a group by a.account_id, a.key having count(a.key) > 1
    ), summed as (
      select a.item, a.account_id, a.amount, a.type, a.key, a.reference, a.metadata, a.usage,
        row_number() over so_far as nth,
        pgledger._total(a.small) over so_far as so_far,
        pgledger._total(a.small) over whole as total,
        pgledger._total(abs(a.small)) over whole as moved,
        row_number() over so_far = count(*) over whole as is_last,
        bool_and(a.type = 'USAGE') over whole as is_usage,
        bool_and(coalesce(
          a.small is not null
          and pgledger._is_plain(
            a.shortfall, a.external_id, a.ceiling_balance, a.credits_expire_at, a.priority)
          and pgledger._is_well_formed(
            a.amount, a.type, a.key, a.reference, a.metadata, a.usage)
          and (a.key is null or (a.account_id, a.key) not in (
            select r.account_id, r.key from repeated r)), false)) over whole as is_plain
      from asked a
      window so_far as (
          partition by a.account_id collate "C" order by a.item rows unbounded preceding),
        whole as (partition by a.account_id collate "C" order by a.item
          rows between unbounded preceding and unbounded following)
    )
    select row(
      s.item, s.account_id, s.amount, s.type, s.key, s.reference, s.metadata, s.usage, s.nth,
      s.so_far, s.total, s.is_last, s.is_usage, s.is_plain and s.moved = abs(s.total)
    )::pgledger._item
    from summed s);
end;
$$;

comment on function pgledger._weigh(pgledger._request[]) is
  'The movements of a batch by account, with what it asks of each. Plain are those of an account '
  'on which all of them are such as the fast path knows, none repeats a key of another, and all go '
  'one way. Private.';

revoke all on function pgledger._weigh(pgledger._request[]) from public;

-- functions/_judge_together.sql

-- What a batch asks of an account is judged as one movement of its sum, which is right where all of
-- it goes one way: every balance on the way there lies between the first and the last.
--
-- FULL, because no nested loop can do such a join, however short the planner takes the arrays for.
create or replace function pgledger._judge_together(
  items pgledger._item[], hots pgledger.balances[], places tid[], apart text[], at timestamptz
) returns table (
  item bigint, account_id text, amount bigint, type pgledger.transaction_type, key text,
  reference text, metadata jsonb, usage jsonb, seq bigint, running_balance bigint, total bigint,
  is_last boolean, held bigint, pending_rows bigint, head_lot bigint, place tid,
  posted_at timestamptz, fits boolean
)
language sql stable
as $$
  select i.item, i.account_id, i.amount, i.type, i.key, i.reference, i.metadata, i.usage,
    b.seq + i.nth, case when s.is_small then b.balance + i.so_far end, i.total, i.is_last, b.held,
    b.pending_rows, b.head_lot, b.place, s.posted_at,
    case when i.is_plain and s.is_small and b.attention_at > s.posted_at
        and i.account_id <> all (_judge_together.apart)
        and pgledger._allows(b.balance, b.held, b.floor, i.total)
        and pgledger._fits(b.head_lot, b.head_left, b.cap_left, i.total, i.is_usage)
      then i.total >= 0 or not coalesce(pgledger._is_low(
        b.balance - b.held + i.total, i.total, b.low_below, b.top_up_below), false)
      else false
    end
  from unnest(_judge_together.items) i
  full join unnest(_judge_together.hots, _judge_together.places) b (
    account_id, balance, seq, updated_at, held, pending_rows, attention_at, floor, low_below,
    top_up_below, pool, held_in_lots, head_lot, head_left, cap_left, place)
    on b.account_id = i.account_id
  -- Beside a sum of the batch, a balance below 2^62 overflows nothing.
  cross join lateral (values (
    b.balance between -4611686018427387904 and 4611686018427387904,
    greatest(b.updated_at, _judge_together.at))) s (is_small, posted_at)
$$;

comment on function pgledger._judge_together(
  pgledger._item[], pgledger.balances[], tid[], text[], timestamptz) is
  'For each movement of a batch where in its account''s journal it would stand, and whether it '
  'fits: whether the fast path would post all that is asked of its account, which is none of those '
  'to be kept apart, as long as its key is not taken. Private.';

revoke all on function pgledger._judge_together(
  pgledger._item[], pgledger.balances[], tid[], text[], timestamptz) from public;

-- functions/_post_together.sql

-- What _post does for one movement, for all those of a batch at once: one UPDATE of the balance
-- rows and one INSERT into the journal. All rows are locked, so what was judged stays true, the
-- keys included. No plan but by index: one made while the tables were small would be kept. A key is
-- looked up by a scalar subquery, because of EXISTS the planner could make a hash of all keys.
create or replace function pgledger._post_together(
  items pgledger._item[], hots pgledger.balances[], places tid[], apart text[]
) returns pgledger.posting[]
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_mergejoin = off
set jit = off
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_answers pgledger.posting[];
begin
  with judged as materialized (
    select t.*
    from pgledger._judge_together(items, hots, places, apart, v_now) t
  ), taken as materialized (
    select j.account_id
    from judged j
    where j.fits and j.key is not null
      and ((
          select t.seq from pgledger.transactions t
          where t.account_id = j.account_id and t.key = j.key) is not null
        or (j.pending_rows > 0 and (
          select p.amount from pgledger.pending_transactions p
          where p.account_id = j.account_id and p.key = j.key) is not null))
  ), moved as (
    update pgledger.balances b
    set balance = j.running_balance, seq = j.seq, updated_at = j.posted_at,
        pool = b.pool + case when b.head_lot is null then j.total else 0 end,
        head_left = b.head_left + j.total, cap_left = b.cap_left + least(j.total, 0)
    from judged j
    where b.account_id = j.account_id and b.ctid = j.place and j.fits and j.is_last
      and j.account_id not in (select t.account_id from taken t)
  ), entered as (
    insert into pgledger.transactions (
      account_id, seq, amount, running_balance, created_at, type, reference, metadata, lot, usage,
      key)
    select j.account_id, j.seq, j.amount, j.running_balance, j.posted_at, j.type, j.reference,
      j.metadata, case when j.amount < 0 then j.head_lot end, j.usage, j.key
    from judged j
    where j.fits and j.account_id not in (select t.account_id from taken t)
  )
  select array_agg(case
      when j.fits and j.account_id not in (select t.account_id from taken t)
      then row(
        j.account_id, coalesce(j.key, '#' || j.seq), j.seq, j.type, j.amount, j.amount,
        j.running_balance, j.running_balance, j.running_balance - j.held, 'POSTED', false, null,
        j.posted_at, null)::pgledger.posting
    end order by j.item)
  into v_answers
  from judged j;
  return v_answers;
end;
$$;

comment on function pgledger._post_together(
  pgledger._item[], pgledger.balances[], tid[], text[]) is
  'Posts those movements of a batch that can be posted without looking at them one by one, none of '
  'them on the accounts to be kept apart, under the locks of all: the answers, null for those left '
  'to be posted. Private.';

revoke all on function pgledger._post_together(
  pgledger._item[], pgledger.balances[], tid[], text[]) from public;

-- functions/_price_all.sql

create or replace function pgledger._price_all(requests pgledger._request[])
returns pgledger._request[]
language plpgsql stable
as $$
declare
  v_requests pgledger._request[] := requests;
  v_now timestamptz := clock_timestamp();
  v_usage jsonb;
  v_cost bigint;
  v_place bigint;
begin
  for v_place in
    select r.place
    from unnest(requests) with ordinality r (
      account_id, amount, type, key, announced, ceiling_balance, shortfall, reference, external_id,
      metadata, raise_refusals, expires_at, original_seq, counterparty, counterparty_seq, released,
      credits_expire_at, priority, extend, usage, place)
    where r.usage is not null and r.amount is null
  loop
    v_usage := v_requests[v_place].usage;
    continue when not pgledger._is_usage(v_usage ->> 'code', v_usage -> 'quantities');
    select p.cost, p.usage into v_cost, v_usage
    from pgledger._priced(v_usage ->> 'code', v_usage -> 'quantities', v_now) p;
    v_requests[v_place].amount := -v_cost;
    v_requests[v_place].usage := v_usage;
  end loop;
  return v_requests;
end;
$$;

comment on function pgledger._price_all(pgledger._request[]) is
  'The movements of a batch, those priced that are usage: code and quantities as asked for give '
  'way to the record of what they cost. Left as asked for is what cannot have been used. Private.';

revoke all on function pgledger._price_all(pgledger._request[]) from public;

-- functions/_post_item.sql

-- A repeat is not tried first: what is taken back leaves versions of the balance row behind, which
-- every later item of the transaction would walk over.
create or replace function pgledger._post_item(request pgledger._request, apart boolean)
returns pgledger.posting
language plpgsql
as $$
begin
  if not _post_item.apart and pgledger._is_plain(
      request.shortfall, request.external_id, request.ceiling_balance, request.credits_expire_at,
      request.priority)
    and pgledger._is_well_formed(
      request.amount, request.type, request.key, request.reference, request.metadata,
      request.usage)
    and (request.key is null or not exists (
      select from pgledger.transactions t
      where t.account_id = request.account_id and t.key = request.key))
  then
    return pgledger._post(
      request.account_id, request.amount, request.type, request.key, request.reference,
      request.metadata, request.shortfall, request.raise_refusals, request.usage);
  end if;
  return pgledger._post_under_lock(request);
end;
$$;

comment on function pgledger._post_item(pgledger._request, boolean) is
  'Posts one movement of a batch as the verb of its own would; apart, on an account whose balance '
  'row was made for the batch, under the lock, which opens the account. Private.';

revoke all on function pgledger._post_item(pgledger._request, boolean) from public;

-- functions/_post_isolated.sql

create or replace function pgledger._post_isolated(request pgledger._request, apart boolean)
returns pgledger.posting
language plpgsql
as $$
declare
  v_code text;
  v_message text;
  v_detail text;
  v_hint text;
  v_hot pgledger.balances;
begin
  return pgledger._post_item(request, _post_isolated.apart);
exception when data_exception then
  get stacked diagnostics v_code = returned_sqlstate, v_message = message_text,
    v_detail = pg_exception_detail, v_hint = pg_exception_hint;
  perform pgledger._forget_unopened(request.account_id);
  v_hot := pgledger._balance_now(request.account_id);
  return row(
    request.account_id, request.key, null, request.type, 0, request.amount, null,
    coalesce(v_hot.balance, 0), coalesce(v_hot.balance - v_hot.held, 0), 'REFUSED', false, v_code,
    null, jsonb_build_object(
      'message', v_message, 'detail', coalesce(nullif(v_detail, ''), '{}')::jsonb, 'hint', v_hint)
  )::pgledger.posting;
end;
$$;

comment on function pgledger._post_isolated(pgledger._request, boolean) is
  'Posts one movement of a batch, and answers a misuse (class 22) as the refusal of this movement '
  'alone, by a subtransaction. Private.';

revoke all on function pgledger._post_isolated(pgledger._request, boolean) from public;

-- functions/_post_singly.sql

create or replace function pgledger._post_singly(
  requests pgledger._request[], answers pgledger.posting[], apart text[], isolated boolean
) returns pgledger.posting[]
language plpgsql
as $$
declare
  v_answers pgledger.posting[] := answers;
  v_apart boolean;
begin
  for v_place in 1 .. cardinality(requests) loop
    continue when (v_answers[v_place]).status is not null;
    v_apart := (requests[v_place]).account_id = any (_post_singly.apart);
    if _post_singly.isolated then
      v_answers[v_place] := pgledger._post_isolated(requests[v_place], v_apart);
    else
      v_answers[v_place] := pgledger._post_item(requests[v_place], v_apart);
    end if;
  end loop;
  return v_answers;
end;
$$;

comment on function pgledger._post_singly(
  pgledger._request[], pgledger.posting[], text[], boolean) is
  'Posts those movements of a batch that have no answer yet one by one, in their order; apart are '
  'the accounts that had no balance row. Private.';

revoke all on function
  pgledger._post_singly(pgledger._request[], pgledger.posting[], text[], boolean) from public;

-- functions/_raise_first.sql

create or replace function pgledger._raise_first(answers pgledger.posting[]) returns void
language plpgsql
as $$
declare
  v_item bigint;
  v_code text;
  v_error jsonb;
begin
  select a.item, a.refusal, a.error into v_item, v_code, v_error
  from (
    select u.refusal, u.error, u.item
    from unnest(answers) with ordinality u (
      account_id, key, seq, type, amount, requested_amount, running_balance, balance, available,
      status, replayed, refusal, created_at, error, item)
  ) a
  where a.refusal is not null
  order by a.item
  limit 1;

  if found then
    raise exception using
      errcode = v_code,
      message = v_error ->> 'message',
      detail = (v_error -> 'detail' || jsonb_build_object('item', v_item))::text,
      hint = v_error ->> 'hint';
  end if;
end;
$$;

comment on function pgledger._raise_first(pgledger.posting[]) is
  'Raises the first refusal among the answers to a batch, with its place in the batch. Private.';

revoke all on function pgledger._raise_first(pgledger.posting[]) from public;

-- functions/_post_all.sql

create or replace function pgledger._post_all(requests pgledger._request[], account_ids text[])
returns pgledger.posting[]
language plpgsql
as $$
declare
  v_items pgledger._item[] := pgledger._weigh(requests);
  v_hots pgledger.balances[];
  v_places tid[];
  v_missing text[];
  v_answers pgledger.posting[];
begin
  select l.hots, l.places, l.missing into v_hots, v_places, v_missing
  from pgledger._lock_balances(_post_all.account_ids) l;
  v_answers := pgledger._post_together(v_items, v_hots, v_places, v_missing);
  if array_position(v_answers, null) is null then
    return v_answers;
  end if;

  -- Hardly ever is a movement misused, so one subtransaction does for all of them.
  begin
    return pgledger._post_singly(requests, v_answers, v_missing, false);
  exception when data_exception then
    return pgledger._post_singly(requests, v_answers, v_missing, true);
  end;
end;
$$;

comment on function pgledger._post_all(pgledger._request[], text[]) is
  'Posts the movements of a batch, given with their accounts once more: together where that can '
  'be, the others one by one. Private.';

revoke all on function pgledger._post_all(pgledger._request[], text[]) from public;

-- functions/_settlement.sql

create or replace function pgledger._settlement(
  account_id text, key text, raise_refusals boolean
) returns pgledger._request
language plpgsql immutable parallel safe
as $$
begin
  return pgledger._asked(
    pgledger._checked_account(_settlement.account_id), null, null,
    pgledger._checked_key(_settlement.key), 'REFUSE', null, null, _settlement.raise_refusals, null);
end;
$$;

comment on function pgledger._settlement(text, text, boolean) is
  'The request to settle a pending transaction, its account and key checked. Private.';

revoke all on function pgledger._settlement(text, text, boolean) from public;

-- functions/_as_enabled.sql

create or replace function pgledger._as_enabled(
  request pgledger._request, pending pgledger.pending_transactions
) returns pgledger._request
language plpgsql
as $$
declare
  v_final pgledger._request := request;
begin
  v_final.type := pending.type;
  v_final.reference := pending.reference;
  v_final.credits_expire_at := pending.credits_expire_at;
  v_final.priority := pending.priority;
  -- What a hold says of its usage costs all of it; another amount is of usage not told.
  if request.usage is null and request.amount = pending.amount then
    v_final.usage := pending.usage;
  end if;

  if pending.amount < 0 then
    -- What was reserved is there, whatever the floor and the status say now.
    v_final.shortfall := 'FORCE';
    v_final.released := -pending.amount;
  end if;
  v_final.metadata :=
    case when request.metadata is null then pending.metadata
    else coalesce(pending.metadata, '{}') || request.metadata end;
  perform pgledger._check_labels(null, null, null, v_final.metadata);
  return v_final;
end;
$$;

comment on function pgledger._as_enabled(pgledger._request, pgledger.pending_transactions) is
  'The movement that a pending transaction becomes with the final amount of a request. Private.';

revoke all on function
  pgledger._as_enabled(pgledger._request, pgledger.pending_transactions) from public;

-- functions/_enable.sql

create or replace function pgledger._enable(
  request pgledger._request, hot pgledger.balances, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_final pgledger._request := pgledger._as_enabled(request, pending);
  v_applied bigint;
  v_code text;
  v_detail jsonb;
begin
  if pending.amount < 0 and request.amount < pending.amount then
    return pgledger._refuse(v_final, hot, 'LG009', jsonb_build_object(
      'original', pending.key, 'remaining', -pending.amount, 'requested', -request.amount));
  end if;

  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(v_final, hot) j;
  if v_code is not null then
    return pgledger._refuse(v_final, hot, v_code, v_detail);
  end if;

  update pgledger.pending_transactions p
  set status = 'ENABLED', settled_at = hot.updated_at
  where p.account_id = pending.account_id and p.key = pending.key;

  -- What a ceiling left of the announcement is recorded beside what was asked, here too.
  if v_applied = pending.amount then
    v_final.amount := coalesce(pending.requested_amount, pending.amount);
  end if;
  perform pgledger._rearm(pending.account_id, pending.key);
  return pgledger._apply(v_final, hot, v_applied);
end;
$$;

comment on function pgledger._enable(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) is
  'Judges and posts a pending transaction with its final amount, under the lock. Private.';

revoke all on function pgledger._enable(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) from public;

-- functions/_capture_beyond.sql

-- A capture is at most its hold, so what costs more is two movements, judged and written as one:
-- nothing may come between them, and a refusal of the second leaves no trace of the first.
create or replace function pgledger._capture_beyond(
  request pgledger._request, hot pgledger.balances, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_capture pgledger._request := pgledger._as_enabled(request, pending);
  v_excess pgledger._request;
  v_hot pgledger.balances := hot;
  v_applied bigint;
  v_code text;
  v_detail jsonb;
  v_answer pgledger.posting;
begin
  v_excess := pgledger._asked(
    request.account_id, request.amount - pending.amount, pending.type,
    '#excess-' || hot.seq + 1, request.shortfall, pending.reference, v_capture.metadata, null,
    null);
  -- The hold is captured whatever the cap says, and what is above it gets what that leaves.
  if hot.cap_left is not null then
    v_hot.cap_left :=
      greatest(-9223372036854775808, hot.cap_left::numeric + pending.amount)::bigint;
  end if;
  select j.applied, j.code, j.detail into v_applied, v_code, v_detail
  from pgledger._judge(v_excess, v_hot) j;
  if v_code is not null and request.shortfall <> 'PARTIAL' then
    return pgledger._refuse(v_capture, hot, v_code, v_detail);
  end if;

  update pgledger.pending_transactions p
  set status = 'ENABLED', settled_at = hot.updated_at
  where p.account_id = pending.account_id and p.key = pending.key;
  v_hot := pgledger._enter(v_capture, hot, pending.amount);
  v_answer := row(request.account_id, request.key, v_hot.seq, pending.type, pending.amount,
    request.amount, v_hot.balance, null, null, 'POSTED', false, null, v_hot.updated_at,
    null)::pgledger.posting;
  if v_code is null then
    v_hot := pgledger._enter(v_excess, v_hot, v_applied);
  end if;
  perform pgledger._write_balance(v_hot, pending.amount);

  v_answer.balance := v_hot.balance;
  v_answer.available := v_hot.balance - v_hot.held;
  if pgledger._is_low(
    v_answer.available, coalesce(v_applied, 0), v_hot.low_below, v_hot.top_up_below)
  then
    return pgledger._watched(v_answer, coalesce(v_applied, 0), pending.reference);
  end if;
  return v_answer;
end;
$$;

comment on function pgledger._capture_beyond(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) is
  'Captures all of a hold of usage that costs more, and spends what is above it beside, as the '
  'request''s shortfall says, under the lock. Private.';

revoke all on function pgledger._capture_beyond(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) from public;

-- functions/_replay_usage.sql

create or replace function pgledger._replay_usage(
  request pgledger._request, hot pgledger.balances, pending pgledger.pending_transactions
) returns pgledger.posting
language plpgsql
as $$
declare
  v_pending pgledger.pending_transactions := pending;
  v_posted pgledger.transactions;
  v_usage jsonb;
begin
  if pending.status = 'ENABLED' then
    select t.* into strict v_posted
    from pgledger.transactions t
    where t.account_id = request.account_id and t.key = request.key;
    v_usage := v_posted.usage;
  elsif pending.usage ? 'used' then
    v_usage := pending.usage -> 'used';
  else
    return pgledger._refuse_settled(request, hot);
  end if;

  if pgledger._usage_told(v_usage) = pgledger._usage_told(request.usage) then
    return pgledger._as_posting(v_posted, pending, hot, true);
  end if;
  -- What is shown as recorded is what was charged, not the estimate.
  v_pending.usage := v_usage;
  return pgledger._conflict(request, hot, v_posted, v_pending);
end;
$$;

comment on function pgledger._replay_usage(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) is
  'What became of a hold of usage that was settled, where it was of the same usage; LG002 where '
  'it was of another, LG007 where it was released or has expired. Private.';

revoke all on function pgledger._replay_usage(
  pgledger._request, pgledger.balances, pgledger.pending_transactions) from public;

-- functions/_capture_usage.sql

create or replace function pgledger._capture_usage(request pgledger._request, quantities jsonb)
returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request := request;
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_cost bigint;
begin
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  v_pending := pgledger._pending_by_key(v_hot, request.key, true);
  if v_pending.key is null then
    return pgledger._refuse_settled(request, v_hot);
  elsif v_pending.usage is null then
    perform pgledger._reject('key', request.key,
      'This hold was not made by hold_usage: use capture.');
  end if;

  select p.cost, p.usage into v_cost, v_request.usage
  from pgledger._priced(v_pending.usage ->> 'code', _capture_usage.quantities,
    (v_pending.usage ->> 'valid_from')::timestamptz) p;
  v_request.type := v_pending.type;
  v_request.amount := -v_cost;

  if v_pending.status <> 'PENDING' then
    return pgledger._replay_usage(v_request, v_hot, v_pending);
  elsif v_cost is null then
    return pgledger._refuse(v_request, v_hot, v_request.usage #>> '{refusal,sqlstate}',
      v_request.usage #> '{refusal,detail}');
  elsif v_cost = 0 then
    update pgledger.pending_transactions p
    set usage = p.usage || jsonb_build_object('used', v_request.usage)
    where p.account_id = request.account_id and p.key = request.key;
    return pgledger._cancel(v_pending, v_hot, 'what was used costs nothing');
  elsif v_cost <= -v_pending.amount then
    return pgledger._enable(v_request, v_hot, v_pending);
  end if;
  return pgledger._capture_beyond(v_request, v_hot, v_pending);
end;
$$;

comment on function pgledger._capture_usage(pgledger._request, jsonb) is
  'Settles a hold of usage by what was really used, under the lock. Private.';

revoke all on function pgledger._capture_usage(pgledger._request, jsonb) from public;

-- functions/_undo.sql

create or replace function pgledger._undo(request pgledger._request, original_key text)
returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request := request;
  v_hot pgledger.balances;
  v_original pgledger.transactions;
begin
  perform pgledger._checked_key(_undo.original_key);
  if request.amount <= 0 then
    perform pgledger._reject('amount', request.amount::text,
      'Undo a positive whole number of minor units, or all that remains without an amount.');
  end if;
  -- A misuse is refused as one, whether or not there is such an original.
  v_request.amount := coalesce(request.amount, 1);
  perform pgledger._check_request(v_request);
  v_request.amount := request.amount * case request.type when 'REFUND' then -1 else 1 end;

  -- What is due first: what expired of the original is not left to be undone.
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  select t.* into v_original
  from pgledger.transactions t
  where t.account_id = request.account_id
    and (t.key = _undo.original_key or t.seq = pgledger._seq_of(_undo.original_key));

  if not found then
    return pgledger._refuse(
      v_request, v_hot, 'LG006', jsonb_build_object('original_key', _undo.original_key));
  elsif (request.type = 'REFUND') <> (v_original.type = 'TOP_UP')
    or v_original.type in ('REVERSAL', 'REFUND', 'EXPIRY', 'TRANSFER')
    or (request.type = 'REFUND' and v_original.amount < 0)
  then
    perform pgledger._reject('original_key', _undo.original_key, 'It is a ' || v_original.type
      || '. refund gives back a TOP_UP; reverse_transaction undoes USAGE, GRANT, CARD_CHECK and '
      'ADJUSTMENT; nothing undoes the others.');
  end if;

  v_request.original_seq := v_original.seq;
  if v_original.amount = 0 then
    return pgledger._refuse(v_request, v_hot, 'LG009', jsonb_build_object(
      'original', '#' || v_original.seq, 'remaining', 0, 'requested', request.amount));
  end if;
  v_request.amount := -sign(v_original.amount)::bigint
    * coalesce(request.amount, pgledger._undone_amount(v_request), abs(v_original.amount));
  if request.type = 'REVERSAL' then
    v_request.shortfall := 'FORCE';
  end if;
  perform pgledger._check_request(v_request);
  return pgledger._post_locked(v_request, v_hot);
end;
$$;

comment on function pgledger._undo(pgledger._request, text) is
  'Posts a refund or a reversal of a posted transaction, of the request''s amount (above 0) or of '
  'all that remains. Private.';

revoke all on function pgledger._undo(pgledger._request, text) from public;

-- functions/open_account.sql

create or replace function pgledger.open_account(
  account_id text,
  currency text default 'CREDIT',
  min_balance bigint default 0,
  metadata jsonb default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_account pgledger.accounts;
begin
  v_request.account_id := pgledger._checked_account(open_account.account_id);
  perform pgledger._check_labels(null, null, null, open_account.metadata);
  if not exists (
    select from pgledger.currencies c where c.code = open_account.currency collate "default")
  then
    perform pgledger._reject('currency', open_account.currency,
      'Use a code of pgledger.currencies, or add one there first.');
  end if;
  if not coalesce(open_account.min_balance <= 0, false) then
    perform pgledger._reject('min_balance', open_account.min_balance::text,
      'A floor is 0 or negative, in minor units.');
  end if;

  v_hot := pgledger._lock_balance(v_request.account_id);
  insert into pgledger.accounts as a (account_id, currency, min_balance, debt_floor, metadata)
  values (
    v_request.account_id, open_account.currency, open_account.min_balance,
    open_account.min_balance, coalesce(open_account.metadata, '{}'))
  on conflict (account_id) do nothing
  returning a.* into v_account;

  if found then
    update pgledger.balances b
    set floor = v_account.min_balance
    where b.account_id = v_request.account_id;
    return v_account;
  end if;

  select a.* into strict v_account
  from pgledger.accounts a
  where a.account_id = v_request.account_id;

  if v_account.currency <> open_account.currency collate "default" then
    perform pgledger._refuse(v_request, v_hot, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object('currency', v_account.currency),
      'given', jsonb_build_object('currency', open_account.currency)));
  end if;
  return v_account;
end;
$$;

comment on function pgledger.open_account(text, text, bigint, jsonb) is
  'Opens an account and answers with its settings. min_balance <= 0 is its floor in minor units, '
  'and its debt_floor too until set_limits says otherwise. A repeat changes nothing and answers '
  'with the settings as they are now; LG002 when it names another currency. Not required: a first '
  'credit opens an account in CREDIT. Refuses with LG002, 22023 and 22004.';

revoke all on function pgledger.open_account(text, text, bigint, jsonb) from public;

-- functions/set_account_status.sql

create or replace function pgledger.set_account_status(
  account_id text,
  status pgledger.account_status
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
  v_balance bigint;
  v_pool bigint;
  v_pending bigint;
  v_before pgledger.account_status;
  v_attention_at timestamptz;
  v_now timestamptz;
begin
  if set_account_status.status is null then
    perform pgledger._reject('status', null, 'One of OPEN, FROZEN, CLOSED.');
  end if;

  v_account := pgledger._lock_account(set_account_status.account_id collate "default");
  v_before := v_account.status;

  if set_account_status.status = 'CLOSED' then
    v_now := clock_timestamp();
    select b.balance, b.pool, count(p.key) into strict v_balance, v_pool, v_pending
    from pgledger.balances b
    left join pgledger.pending_transactions p
      on p.account_id = b.account_id
      and pgledger._pending_status(p.status, p.expires_at, v_now) = 'PENDING'
    where b.account_id = v_account.account_id
    group by b.balance, b.pool;

    -- Credits in a lot would expire, and leave a closed account with the debt that they cover.
    if v_balance <> 0 or v_pool <> 0 or v_pending > 0 then
      raise exception using
        errcode = '55000',
        message = 'account not empty',
        detail = jsonb_build_object(
          'account_id', v_account.account_id,
          'balance', v_balance,
          'in_lots', coalesce(v_balance - v_pool, 0),
          'pending', v_pending)::text,
        hint = 'Bring the balance and each lot to 0, settle what is pending, then close it.';
    end if;
  end if;

  update pgledger.accounts a
  set status = set_account_status.status
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  if v_account.status = 'CLOSED' then
    perform pgledger._clear_plan(v_account.account_id);
  end if;
  -- Away from the fast path, so that the status is looked at.
  v_attention_at := pgledger._attention_at(v_account.account_id);
  update pgledger.balances b
  set attention_at = v_attention_at
  where b.account_id = v_account.account_id;

  if v_account.status = 'FROZEN' and v_before <> 'FROZEN' then
    perform pgledger._emit(v_account.account_id, 'account_frozen', array['{}'::jsonb]);
    v_account.events := v_account.events + 1;
  end if;

  return v_account;
end;
$$;

comment on function pgledger.set_account_status(text, pgledger.account_status) is
  'Opens, freezes or closes an account and answers with its settings. FROZEN refuses debits '
  'that ask, not credits, and not movements with fail_insufficient_credits => false. CLOSED '
  'refuses everything; 55000 unless the balance is 0, in each lot as well, and nothing is '
  'pending; it ends the account''s plan. A repeat changes nothing. Refuses with LG003, 55000, '
  '22023 and 22004.';

revoke all on function
  pgledger.set_account_status(text, pgledger.account_status) from public;

-- functions/set_limits.sql

create or replace function pgledger.set_limits(
  account_id text,
  min_balance bigint default null,
  debt_floor bigint default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
  v_min_balance bigint;
  v_debt_floor bigint;
begin
  if set_limits.min_balance is null and set_limits.debt_floor is null then
    perform pgledger._reject('min_balance', null, 'Give min_balance, debt_floor or both.');
  end if;

  v_account := pgledger._lock_account(set_limits.account_id collate "default");

  v_min_balance := coalesce(set_limits.min_balance, v_account.min_balance);
  v_debt_floor := coalesce(set_limits.debt_floor, v_min_balance);
  if v_min_balance > 0 then
    perform pgledger._reject('min_balance', v_min_balance::text,
      'A floor is 0 or negative, in minor units.');
  end if;
  if v_debt_floor > v_min_balance then
    perform pgledger._reject('debt_floor', v_debt_floor::text,
      'debt_floor is at most min_balance, which is ' || v_min_balance || '.');
  end if;

  update pgledger.accounts a
  set min_balance = v_min_balance, debt_floor = v_debt_floor
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  update pgledger.balances b
  set floor = v_account.min_balance
  where b.account_id = v_account.account_id;

  return v_account;
end;
$$;

comment on function pgledger.set_limits(text, bigint, bigint) is
  'Sets the floors of an account, minor units, and answers with its settings. min_balance <= 0 '
  'floors spends, and stays as it is when not given; debt_floor <= min_balance floors spends with '
  'shortfall DEBT, and equals min_balance when not given. Moves no credits. A repeat changes '
  'nothing. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_limits(text, bigint, bigint) from public;

-- functions/set_low_balance_level.sql

create or replace function pgledger.set_low_balance_level(
  account_id text,
  level bigint default null
) returns pgledger.accounts
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
begin
  v_account := pgledger._lock_account(set_low_balance_level.account_id collate "default");

  update pgledger.accounts a
  set low_balance_level = set_low_balance_level.level
  where a.account_id = v_account.account_id
  returning a.* into v_account;

  update pgledger.balances b
  set low_below = v_account.low_balance_level
  where b.account_id = v_account.account_id;

  return v_account;
end;
$$;

comment on function pgledger.set_low_balance_level(text, bigint) is
  'Sets the level, minor units, below which available counts as low, and answers with the '
  'account''s settings: a debit or hold that crosses it records the event low_balance. Null, the '
  'default, is none. Setting it records nothing. A repeat changes nothing. Refuses with LG003, '
  '22023 and 22004.';

revoke all on function pgledger.set_low_balance_level(text, bigint) from public;

-- functions/add_transaction.sql

create or replace function pgledger.add_transaction(
  account_id text,
  amount bigint,
  type pgledger.transaction_type,
  key text default null,
  is_active boolean default true,
  ceiling_balance bigint default null,
  fail_insufficient_credits boolean default true,
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
declare
  v_request pgledger._request;
begin
  if add_transaction.priority is null then
    perform pgledger._reject('priority', null, 'A whole number; the pool''s priority is 0.');
  end if;
  -- What the fast path knows nothing of is judged under the lock, and so is what is no movement.
  if add_transaction.is_active
    and add_transaction.fail_insufficient_credits is not false
    and add_transaction.ceiling_balance is null
    and add_transaction.external_id is null
    and add_transaction.expires_at is null
    and add_transaction.priority = 0
    and add_transaction.amount <> 0
    and add_transaction.amount > -9223372036854775808
    and add_transaction.type is not null
  then
    return pgledger._post(
      add_transaction.account_id collate "default", add_transaction.amount, add_transaction.type,
      add_transaction.key, add_transaction.reference, add_transaction.metadata,
      'REFUSE', add_transaction.raise_refusals, null);
  end if;


  v_request := pgledger._asked(
    add_transaction.account_id, add_transaction.amount, add_transaction.type, add_transaction.key,
    case when add_transaction.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    add_transaction.reference, add_transaction.metadata, add_transaction.raise_refusals, null);
  v_request.announced := not add_transaction.is_active;
  v_request.ceiling_balance := add_transaction.ceiling_balance;
  v_request.external_id := add_transaction.external_id;
  v_request.priority := add_transaction.priority;
  if add_transaction.amount < 0 and v_request.announced then
    v_request.expires_at := add_transaction.expires_at;
  else
    v_request.credits_expire_at := add_transaction.expires_at;
  end if;
  return pgledger._post_under_lock(v_request);
end;
$$;

comment on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  timestamptz, integer, boolean) is
  'Posts one movement of any type: amount > 0 credits, amount < 0 debits, in minor units. The '
  'first credit opens the account. is_active => false announces it, to be enabled or cancelled '
  'later; a debit is then a hold. ceiling_balance posts only what fits under it. '
  'fail_insufficient_credits => false debits whatever the balance, even of a frozen account (a '
  'chargeback). A credit with expires_at, an instant in the future, or with a priority other '
  'than 0 forms a lot: lower priorities are drawn first, then what expires first; from '
  'expires_at on what remains is gone. Of an announced debit expires_at is the hold''s own. A '
  'repeat of the key, or of the external_id in the same direction, changes nothing and answers '
  'with the original. Refuses with LG001, LG002, LG004, LG005, LG008, 22003, 22023 and 22004.';

revoke all on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  timestamptz, integer, boolean) from public;

-- functions/spend.sql

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

-- functions/_check_array.sql

create or replace function pgledger._check_array(
  parameter text, given anyarray, items integer, required boolean
) returns void
language plpgsql
as $$
begin
  if given is null and _check_array.required then
    perform pgledger._reject(_check_array.parameter, null,
      'A batch names the account, the type, and the amount or the code of each item.');
  elsif array_ndims(given) > 1 or cardinality(given) <> items then
    perform pgledger._reject(_check_array.parameter, array_dims(given),
      'An array of one dimension, with one element for each of the account_ids: ' || items || '.');
  end if;
end;
$$;

comment on function pgledger._check_array(text, anyarray, integer, boolean) is
  'Refuses (22023, 22004) an array that is not one value for each item of a batch; null is none, '
  'where none is required. Private.';

revoke all on function pgledger._check_array(text, anyarray, integer, boolean) from public;

-- functions/post_batch.sql

create or replace function pgledger.post_batch(
  account_ids text[],
  amounts bigint[],
  types pgledger.transaction_type[],
  keys text[] default null,
  reference_ids text[] default null,
  metadata jsonb[] default null,
  shortfalls text[] default null,
  external_ids text[] default null,
  ceiling_balances bigint[] default null,
  expires_at timestamptz[] default null,
  priorities integer[] default null,
  codes text[] default null,
  quantities jsonb[] default null,
  atomic boolean default false
) returns setof pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_items integer := cardinality(post_batch.account_ids);
  v_requests pgledger._request[];
  v_answers pgledger.posting[];
begin
  if post_batch.atomic is null then
    perform pgledger._reject('atomic', null, 'true posts all or nothing, false each on its own.');
  end if;
  perform pgledger._check_array('account_ids', post_batch.account_ids, v_items, true);
  perform pgledger._check_array(
    'amounts', post_batch.amounts, v_items, post_batch.codes is null);
  perform pgledger._check_array('types', post_batch.types, v_items, true);
  perform pgledger._check_array('keys', post_batch.keys, v_items, false);
  perform pgledger._check_array('reference_ids', post_batch.reference_ids, v_items, false);
  perform pgledger._check_array('metadata', post_batch.metadata, v_items, false);
  perform pgledger._check_array('shortfalls', post_batch.shortfalls, v_items, false);
  perform pgledger._check_array('external_ids', post_batch.external_ids, v_items, false);
  perform pgledger._check_array('ceiling_balances', post_batch.ceiling_balances, v_items, false);
  perform pgledger._check_array('expires_at', post_batch.expires_at, v_items, false);
  perform pgledger._check_array('priorities', post_batch.priorities, v_items, false);
  perform pgledger._check_array('codes', post_batch.codes, v_items, false);
  perform pgledger._check_array('quantities', post_batch.quantities, v_items, false);

  v_requests := array(
    select row(
      i.account_id, i.amount, i.type, i.key, false, i.ceiling_balance,
      coalesce(i.shortfall, 'REFUSE'), i.reference, i.external_id, i.metadata, false, null, null,
      null, null, null, i.expires_at, i.priority, null,
      case when i.code is not null or i.quantities is not null
        then jsonb_build_object('code', i.code, 'quantities', i.quantities) end)
      ::pgledger._request
    from unnest(
      post_batch.account_ids, post_batch.amounts, post_batch.types, post_batch.keys,
      post_batch.reference_ids, post_batch.metadata, post_batch.shortfalls,
      post_batch.external_ids, post_batch.ceiling_balances, post_batch.expires_at,
      post_batch.priorities, post_batch.codes, post_batch.quantities
    ) with ordinality i (
      account_id, amount, type, key, reference, metadata, shortfall, external_id,
      ceiling_balance, expires_at, priority, code, quantities, place)
    order by i.place);
  if post_batch.codes is not null then
    v_requests := pgledger._price_all(v_requests);
  end if;
  v_answers := pgledger._post_all(v_requests, post_batch.account_ids collate "default");
  if post_batch.atomic then
    perform pgledger._raise_first(v_answers);
  end if;
  return query select a.* from unnest(v_answers) a;
end;
$$;

comment on function pgledger.post_batch(
  text[], bigint[], pgledger.transaction_type[], text[], text[], jsonb[], text[], text[], bigint[],
  timestamptz[], integer[], text[], jsonb[], boolean) is
  'Posts many movements at once, on any accounts: the arrays have one element per item, the answer '
  'one row per item, in their order. Amounts are signed, in minor units: a spend is below 0, of '
  'type USAGE, and what is above 0 is a credit whatever its type. Items take effect in their order '
  'as if add_transaction, or spend with its shortfall (REFUSE, PARTIAL, DEBT, or FORCE for '
  'fail_insufficient_credits => false), had been called for one after the other; with a code and '
  'quantities instead of an amount, which is null then, as if spend_usage had. Each is accepted, '
  'replayed by its key, or answered as REFUSED with its code in refusal, misuse (22023, 22004, '
  '22003) too. With atomic the first refusal is raised, DETAIL naming its item from 1 on, and '
  'nothing is posted. A null array, or element, is the default; amounts may be null where there '
  'are codes. Balance rows stay locked until the transaction ends: 1,000 items is a good size. A '
  'repeat of the batch changes nothing for items with a key. Refuses as a whole with 22023 and '
  '22004 for arrays that do not go together.';

revoke all on function pgledger.post_batch(
  text[], bigint[], pgledger.transaction_type[], text[], text[], jsonb[], text[], text[], bigint[],
  timestamptz[], integer[], text[], jsonb[], boolean) from public;

-- functions/_check_batch_json.sql

create or replace function pgledger._check_batch_json(items jsonb) returns void
language plpgsql
as $$
declare
  v_where text;
  v_given jsonb;
  v_rule text;
begin
  if jsonb_typeof(items) is distinct from 'array' then
    perform pgledger._reject('items', items::text, 'A JSON array of objects, one for each item.');
  end if;

  select 'items[' || i.place || ']', i.item, 'An object, with account_id, amount and type.'
  into v_where, v_given, v_rule
  from jsonb_array_elements(items) with ordinality i (item, place)
  where jsonb_typeof(i.item) <> 'object'
  order by i.place
  limit 1;

  if not found then
    select 'items[' || i.place || '].' || f.name, f.given,
      coalesce(e.rule, 'There is no such field: a batch takes those of post_batch, one by one.')
    into v_where, v_given, v_rule
    from jsonb_array_elements(items) with ordinality i (item, place)
    cross join jsonb_each(i.item) f (name, given)
    left join (values
      ('account_id', '^"', null, 'A text.'),
      ('amount', '^-?[0-9]+$', 9223372036854775807,
        'A whole number of minor units, within a bigint.'),
      ('type', '^"', null, 'The name of a transaction_type.'),
      ('key', '^"', null, 'A text.'),
      ('reference', '^"', null, 'A text.'),
      ('metadata', '', null, 'An object.'),
      ('shortfall', '^"', null, 'A text.'),
      ('external_id', '^"', null, 'A text.'),
      ('ceiling_balance', '^-?[0-9]+$', 9223372036854775807,
        'A whole number of minor units, within a bigint.'),
      ('expires_at', '^"', null, 'A point in time, as text.'),
      ('priority', '^-?[0-9]+$', 2147483647, 'A whole number, within an integer.'),
      ('code', '^"', null, 'A text.'),
      ('quantities', '', null, 'An object.')
    ) e (name, pattern, most, rule) on e.name = f.name
    where e.name is null or (f.given <> 'null' and case
      when f.given::text !~ e.pattern then true
      when e.most is not null then f.given::numeric not between -e.most - 1 and e.most
      else false
    end)
    order by i.place, f.name
    limit 1;
  end if;
  if v_where is not null then
    perform pgledger._reject(v_where, v_given::text, v_rule);
  end if;
end;
$$;

comment on function pgledger._check_batch_json(jsonb) is
  'Refuses (22023, 22004) what is no array of objects with the fields of a batch. Private.';

revoke all on function pgledger._check_batch_json(jsonb) from public;

-- functions/post_batch_json.sql

create or replace function pgledger.post_batch_json(items jsonb, atomic boolean default false)
returns setof pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgledger._check_batch_json(post_batch_json.items);

  return query
  select p.account_id, p.key, p.seq, p.type, p.amount, p.requested_amount, p.running_balance,
    p.balance, p.available, p.status, p.replayed, p.refusal, p.created_at, p.error
  from (
    select
      coalesce(array_agg(i.account_id order by i.place), '{}') as account_ids,
      coalesce(array_agg(i.amount order by i.place), '{}') as amounts,
      coalesce(array_agg(i.type order by i.place), '{}') as types,
      array_agg(i.key order by i.place) as keys,
      array_agg(i.reference order by i.place) as reference_ids,
      array_agg(i.metadata order by i.place) as metadata,
      array_agg(i.shortfall order by i.place) as shortfalls,
      array_agg(i.external_id order by i.place) as external_ids,
      array_agg(i.ceiling_balance order by i.place) as ceiling_balances,
      array_agg(i.expires_at order by i.place) as expires_at,
      array_agg(i.priority order by i.place) as priorities,
      array_agg(i.code order by i.place) as codes,
      array_agg(i.quantities order by i.place) as quantities
    from rows from (jsonb_to_recordset(post_batch_json.items) as (
      account_id text, amount bigint, type pgledger.transaction_type, key text, reference text,
      metadata jsonb, shortfall text, external_id text, ceiling_balance bigint,
      expires_at timestamptz, priority integer, code text, quantities jsonb)) with ordinality i (
      account_id, amount, type, key, reference, metadata, shortfall, external_id,
      ceiling_balance, expires_at, priority, code, quantities, place)
  ) a
  cross join pgledger.post_batch(
    a.account_ids, a.amounts, a.types, a.keys, a.reference_ids, a.metadata, a.shortfalls,
    a.external_ids, a.ceiling_balances, a.expires_at, a.priorities, a.codes, a.quantities,
    post_batch_json.atomic) with ordinality p (
    account_id, key, seq, type, amount, requested_amount, running_balance, balance, available,
    status, replayed, refusal, created_at, error, place)
  order by p.place;
end;
$$;

comment on function pgledger.post_batch_json(jsonb, boolean) is
  'As post_batch, for callers that have no arrays: a JSON array of objects with the fields '
  'account_id, amount, type, and where wanted key, reference, metadata, shortfall, external_id, '
  'ceiling_balance, expires_at and priority, or code and quantities for the amount; null is the '
  'default. Any other field, and a value of another kind, refuses the whole call, naming the item '
  'from 1 on. Refuses with 22023, 22004, and with 22P02 and 22007 for a type and an instant that '
  'PostgreSQL does not know.';

revoke all on function pgledger.post_batch_json(jsonb, boolean) from public;

-- functions/hold.sql

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

-- functions/capture.sql

create or replace function pgledger.capture(
  account_id text,
  key text,
  amount bigint default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_answer pgledger.posting;
begin
  if capture.metadata is null and coalesce(capture.amount > 0, true) then
    v_answer := pgledger._capture(
      capture.account_id collate "default", capture.key, capture.amount, null);
    if v_answer.status is not null then
      return v_answer;
    end if;
  end if;

  v_request := pgledger._settlement(capture.account_id, capture.key, capture.raise_refusals);
  v_request.amount := capture.amount;
  v_request.metadata := capture.metadata;
  return pgledger._enable_by_key(v_request, true);
end;
$$;

comment on function pgledger.capture(text, text, bigint, jsonb, boolean) is
  'Spends what a hold reserves, once, under the hold''s own key: amount > 0 of it, minor units, '
  'or all of it; the rest is released. metadata is merged. Also on a frozen account. A repeat, '
  'with the same amount or none, changes nothing and answers with the posted transaction. Refuses '
  'with LG002 (captured with another amount), LG006, LG007 (released, expired), LG009 (more than '
  'was held), 22023 and 22004.';

revoke all on function pgledger.capture(text, text, bigint, jsonb, boolean) from public;

-- functions/refund.sql

create or replace function pgledger.refund(
  account_id text,
  original_key text,
  amount bigint default null,
  key text default null,
  external_id text default null,
  fail_insufficient_credits boolean default true,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
begin
  v_request := pgledger._asked(
    refund.account_id, refund.amount, 'REFUND', refund.key,
    case when refund.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    refund.reference, refund.metadata, refund.raise_refusals, null);
  v_request.external_id := refund.external_id;
  return pgledger._undo(v_request, refund.original_key collate "default");
end;
$$;

comment on function pgledger.refund(
  text, text, bigint, text, text, boolean, text, jsonb, boolean) is
  'Takes back the credits of a TOP_UP whose money goes back to the payer: amount > 0 of it, minor '
  'units, or all that remains of it. May be repeated, under other keys, up to what was topped up. '
  'Credits that are spent already are not there to be taken: LG001, unless '
  'fail_insufficient_credits => false (a chargeback), which may leave a debt and also debits a '
  'frozen account. external_id is the provider''s id of the refund or dispute: it has one effect, '
  'ever. A repeat of key or external_id changes nothing and answers with the original. Refuses '
  'with LG001, LG002, LG004, LG006, LG009, 22003, 22023 (not a TOP_UP) and 22004.';

revoke all on function
  pgledger.refund(text, text, bigint, text, text, boolean, text, jsonb, boolean) from public;

-- functions/reverse_transaction.sql

create or replace function pgledger.reverse_transaction(
  account_id text,
  original_key text,
  amount bigint default null,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  extend interval default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
begin
  if reverse_transaction.extend is not null then
    perform pgledger._checked_span('extend', reverse_transaction.extend);
  end if;
  v_request := pgledger._asked(
    reverse_transaction.account_id, reverse_transaction.amount, 'REVERSAL',
    reverse_transaction.key, 'REFUSE', reverse_transaction.reference,
    reverse_transaction.metadata, reverse_transaction.raise_refusals, null);
  v_request.extend := reverse_transaction.extend;
  return pgledger._undo(v_request, reverse_transaction.original_key collate "default");
end;
$$;

comment on function pgledger.reverse_transaction(
  text, text, bigint, text, text, jsonb, interval, boolean) is
  'Undoes a posted USAGE, GRANT, CARD_CHECK or ADJUSTMENT by a REVERSAL the other way: amount > '
  '0 of it, minor units, or all that remains of it. May be repeated, under other keys, up to '
  'the original. What a debit drew goes back to the very lots that paid, the last drawn first; '
  'what comes back to a lot that has ended expires at once, unless extend (above 0, at most 100 '
  'years) lets that lot live on for so long from now. To reverse a credit takes from its own '
  'lot first, and may leave a debt; what expired of it is gone already. A TOP_UP is undone by '
  'refund. A repeat of the key changes nothing and answers with the original reversal. Refuses '
  'with LG002, LG004 (closed), LG006, LG009, 22003, 22023 (cannot be reversed) and 22004.';

revoke all on function pgledger.reverse_transaction(
  text, text, bigint, text, text, jsonb, interval, boolean) from public;

-- functions/transfer.sql

create or replace function pgledger.transfer(
  from_account_id text,
  to_account_id text,
  amount bigint,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_debit pgledger._request;
  v_credit pgledger._request;
  v_from pgledger.balances;
  v_to pgledger.balances;
begin
  if not coalesce(transfer.amount > 0, false) then
    perform pgledger._reject('amount', transfer.amount::text,
      'A transfer is a positive whole number of minor units.');
  end if;
  v_debit := pgledger._asked(
    transfer.from_account_id, -transfer.amount, 'TRANSFER', transfer.key, 'REFUSE',
    transfer.reference, transfer.metadata, transfer.raise_refusals, null);
  v_debit.counterparty := transfer.to_account_id;
  v_credit := v_debit;
  v_credit.account_id := pgledger._checked_account(transfer.to_account_id);
  v_credit.amount := transfer.amount;
  v_credit.counterparty := pgledger._checked_account(transfer.from_account_id);
  if transfer.from_account_id collate "default" = transfer.to_account_id then
    perform pgledger._reject('to_account_id', transfer.to_account_id,
      'A transfer is between two accounts.');
  end if;
  perform pgledger._check_request(v_debit);

  -- One order for everybody, so that transfers in opposite directions wait instead of deadlocking.
  if transfer.from_account_id collate "C" < transfer.to_account_id collate "C" then
    v_from := pgledger._lock_balance(v_debit.account_id);
    v_to := pgledger._lock_balance(v_credit.account_id);
  else
    v_to := pgledger._lock_balance(v_credit.account_id);
    v_from := pgledger._lock_balance(v_debit.account_id);
  end if;
  return pgledger._transfer(v_debit, v_credit, v_from, v_to);
end;
$$;

comment on function pgledger.transfer(text, text, bigint, text, text, jsonb, boolean) is
  'Moves credits between two accounts of one currency: amount > 0, minor units; both legs are '
  'posted, or none. One key on both: a repeat changes nothing and answers with the sender''s '
  'original. The answer is the sender''s leg. The receiver must exist (LG003). Refuses with '
  'LG001, LG002, LG003, LG004 (sender frozen or closed, receiver closed), 22003, 22023 (other '
  'currency, same account) and 22004.';

revoke all on function
  pgledger.transfer(text, text, bigint, text, text, jsonb, boolean) from public;

-- functions/create_plan.sql

create or replace function pgledger.create_plan(
  code text,
  amount bigint,
  period interval,
  policy pgledger.refill_policy,
  anchor pgledger.plan_anchor default 'CALENDAR',
  time_zone text default 'UTC',
  metadata jsonb default null
) returns pgledger.plans
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_given pgledger.plans;
  v_recorded pgledger.plans;
  v_terms jsonb;
  v_others jsonb;
begin
  v_given.code := create_plan.code;
  v_given.amount := create_plan.amount;
  v_given.period := create_plan.period;
  v_given.policy := create_plan.policy;
  v_given.anchor := create_plan.anchor;
  v_given.time_zone := create_plan.time_zone;
  v_given.metadata := coalesce(create_plan.metadata, '{}');
  perform pgledger._check_plan(v_given);

  insert into pgledger.plans (code, amount, period, policy, anchor, time_zone, metadata)
  values (
    v_given.code, v_given.amount, v_given.period, v_given.policy, v_given.anchor,
    v_given.time_zone, v_given.metadata)
  on conflict (code) do nothing;

  select p.* into strict v_recorded
  from pgledger.plans p
  where p.code = create_plan.code collate "default";

  -- As texts: a month is no term of 30 days, though the two intervals are equal.
  v_terms := to_jsonb(v_recorded) - array['metadata', 'created_at'];
  v_others := to_jsonb(v_given) - array['metadata', 'created_at'];
  if v_terms <> v_others then
    raise exception using
      errcode = 'LG002',
      message = 'idempotency conflict',
      detail = jsonb_build_object(
        'plan', create_plan.code, 'recorded', v_terms, 'given', v_others)::text,
      hint = 'A plan is never changed: give other terms another code.';
  end if;
  return v_recorded;
end;
$$;

comment on function pgledger.create_plan(
  text, bigint, interval, pgledger.refill_policy, pgledger.plan_anchor, text, jsonb) is
  'Records a plan and answers with it. code is 1 to 200 characters; amount > 0 in minor units is '
  'granted each period (ADD), filled up to (TOP_UP_TO), or granted as a lot that expires with the '
  'period (RESET). Periods of the CALENDAR in time_zone are 1 day, 7 days (from Monday), 1, 3 or '
  '12 months; with anchor ACCOUNT they are any whole days or months, from where the account '
  'began. A plan is never changed: a repeat changes nothing and answers with what is recorded, '
  'LG002 when its terms (all but metadata) differ. Refuses with LG002, 22023 and 22004.';

revoke all on function pgledger.create_plan(
  text, bigint, interval, pgledger.refill_policy, pgledger.plan_anchor, text, jsonb) from public;

-- functions/assign_plan.sql

create or replace function pgledger.assign_plan(
  account_id text,
  plan text,
  starts_at timestamptz default null,
  at_once boolean default false,
  expire_allowance boolean default false
) returns pgledger.account_plans
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_account pgledger.accounts;
  v_hot pgledger.balances;
  v_on pgledger.account_plans;
begin
  v_request.account_id := pgledger._checked_account(assign_plan.account_id);
  perform pgledger._check_assignment(
    assign_plan.plan, assign_plan.starts_at, assign_plan.at_once, assign_plan.expire_allowance);

  v_account := pgledger._lock_account(v_request.account_id);
  if v_account.status = 'CLOSED' then
    perform pgledger._refuse(v_request, v_hot, 'LG004',
      jsonb_build_object('status', v_account.status));
  end if;

  select p.* into v_on
  from pgledger.account_plans p
  where p.account_id = v_account.account_id;
  if v_on.plan <> assign_plan.plan collate "default" and assign_plan.starts_at is not null
    or v_on.starts_at <> assign_plan.starts_at
  then
    perform pgledger._reject('starts_at', assign_plan.starts_at::text,
      'The account is on a plan: another begins with its next refill, or at_once.');
  end if;

  -- The old allowance ends and the new one begins at one instant.
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_account.account_id));
  if assign_plan.expire_allowance and v_on.plan <> assign_plan.plan collate "default" then
    v_hot := pgledger._expire_allowance(v_hot);
  end if;
  perform pgledger._store_plan(
    v_account.account_id, assign_plan.plan collate "default", assign_plan.starts_at,
    assign_plan.at_once, v_hot.updated_at);
  v_hot.attention_at := v_hot.updated_at;
  perform pgledger._settle_due(v_hot);

  select p.* into strict v_on
  from pgledger.account_plans p
  where p.account_id = v_account.account_id;
  return v_on;
end;
$$;

comment on function pgledger.assign_plan(text, text, timestamptz, boolean, boolean) is
  'Puts an account on a plan, grants what that makes due now, and answers with the assignment. On '
  'no plan yet it begins at starts_at (default: now); one in the past only says where the periods '
  'of an ACCOUNT plan are counted from, and grants the period that holds now; one in the future '
  'waits. Another plan takes over with the next refill, or now with at_once => true, where '
  'expire_allowance => true lets what remains of a RESET allowance expire. The plan it is on '
  'already changes nothing but drops a change that waits. A period is granted once per plan, '
  'however often the account comes back to it. Refuses with LG003, LG004 (closed), 22023 (no '
  'such plan, starts_at of an account on a plan) and 22004.';

revoke all on function
  pgledger.assign_plan(text, text, timestamptz, boolean, boolean) from public;

-- functions/clear_plan.sql

create or replace function pgledger.clear_plan(
  account_id text,
  expire_allowance boolean default false
) returns setof pgledger.account_plans
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
begin
  if clear_plan.expire_allowance is null then
    perform pgledger._reject('expire_allowance', null, 'true or false.');
  end if;

  v_account := pgledger._lock_account(clear_plan.account_id collate "default");
  return query
    select p.*
    from pgledger.account_plans p
    where p.account_id = v_account.account_id;

  if clear_plan.expire_allowance then
    perform pgledger._expire_allowance(
      pgledger._settle_due(pgledger._lock_balance(v_account.account_id)));
  end if;
  perform pgledger._clear_plan(v_account.account_id);
end;
$$;

comment on function pgledger.clear_plan(text, boolean) is
  'Takes an account off its plan, after what is due was granted, and answers with what it was on; '
  'no row when on none. What was granted stays, unless expire_allowance => true lets what remains '
  'of the current allowance of a RESET plan expire now. A repeat changes nothing. Refuses with '
  'LG003, 22023 and 22004.';

revoke all on function pgledger.clear_plan(text, boolean) from public;

-- functions/set_spending_cap.sql

create or replace function pgledger.set_spending_cap(
  account_id text,
  amount bigint,
  period interval default '1 month',
  time_zone text default 'UTC'
) returns setof pgledger.spending_caps
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_account pgledger.accounts;
  v_hot pgledger.balances;
  v_cap record;
begin
  if set_spending_cap.amount < 0 then
    perform pgledger._reject('amount', set_spending_cap.amount::text,
      'A cap is 0 or a positive whole number of minor units; null takes it away.');
  end if;
  perform pgledger._checked_period(set_spending_cap.period, 'CALENDAR');
  perform pgledger._checked_time_zone(set_spending_cap.time_zone);

  v_account := pgledger._lock_account(set_spending_cap.account_id collate "default");
  v_hot := pgledger._lock_balance(v_account.account_id);
  delete from pgledger.spending_caps c
  where c.account_id = v_account.account_id;
  if set_spending_cap.amount is not null then
    insert into pgledger.spending_caps (account_id, amount, period, time_zone, resets_at)
    values (
      v_account.account_id, set_spending_cap.amount, set_spending_cap.period,
      set_spending_cap.time_zone,
      pgledger._period_end(
        set_spending_cap.period, set_spending_cap.time_zone, null, v_hot.updated_at));
  end if;

  -- What was used in this period counts already. Without a cap there is no row, and all is null.
  select n.* into v_cap
  from pgledger._cap_now(v_account.account_id, v_hot.updated_at) n;
  update pgledger.balances b
  set cap_left = v_cap.cap_left, attention_at = least(b.attention_at, v_cap.resets_at)
  where b.account_id = v_account.account_id;

  return query
    select c.*
    from pgledger.spending_caps c
    where c.account_id = v_account.account_id;
end;
$$;

comment on function pgledger.set_spending_cap(text, bigint, interval, text) is
  'Sets, whole, what an account may use in each period of the calendar in time_zone (1 day, 7 '
  'days from Monday, 1, 3 or 12 months), and answers with the cap; amount >= 0 in minor units, '
  'null takes the cap away and answers with no row. USAGE counts when it is posted, so a hold '
  'when it is captured, and what was used in this period counts already; the reversal of usage '
  'of this period gives room back. A spend or hold beyond what is left is refused with LG008; '
  'captures and fail_insufficient_credits => false go through, and count. Moves no credits. A '
  'repeat changes nothing. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_spending_cap(text, bigint, interval, text) from public;

-- functions/_store_price_list.sql

create or replace function pgledger._store_price_list(list pgledger.price_lists, prices jsonb)
returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  delete from pgledger.price_lists l
  where l.code = list.code and l.valid_from = list.valid_from;

  insert into pgledger.price_lists (code, valid_from, rounding, metadata)
  values (list.code, list.valid_from, list.rounding, list.metadata)
  on conflict (code, valid_from) do nothing;
  insert into pgledger.prices (code, valid_from, unit, credits_per_unit)
  select list.code, list.valid_from, e.key, pgledger._number(e.value, true)
  from jsonb_each(_store_price_list.prices) e;
end;
$$;

comment on function pgledger._store_price_list(pgledger.price_lists, jsonb) is
  'Writes a price list and its prices, in the place of one that is to come at the same instant. '
  'Private.';

revoke all on function pgledger._store_price_list(pgledger.price_lists, jsonb) from public;

-- functions/set_price.sql

create or replace function pgledger.set_price(
  code text,
  prices jsonb,
  rounding pgledger.price_rounding default 'CEIL',
  valid_from timestamptz default null,
  metadata jsonb default null
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
  end if;
  return row(v_list.code, v_list.valid_from, v_list.rounding, pgledger._prices_of(v_list),
    coalesce(v_list.metadata, '{}'), v_changed)::pgledger.price_list;
end;
$$;

comment on function pgledger.set_price(
  text, jsonb, pgledger.price_rounding, timestamptz, jsonb) is
  'Sets what is charged for a code (a model, a feature) from now on, or from valid_from, an '
  'instant to come. prices has the credits per unit for all its units, such as {"input_token": '
  '0.0015}: minor units, exact, 0 or more, as JSON numbers or strings of digits. rounding says '
  'how the sum over the units becomes whole minor units. What is or was in force never changes; '
  'a list that is to come is replaced by another one of the same instant. {} means no longer '
  'sold. Prices and rounding that are in force at that instant already change nothing, and the '
  'answer, the list in force, says so. Refuses with LG011 ({} for what is not sold anyway), '
  '22023 and 22004.';

revoke all on function pgledger.set_price(
  text, jsonb, pgledger.price_rounding, timestamptz, jsonb) from public;

-- functions/price.sql

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

-- functions/spend_usage.sql

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

-- functions/hold_usage.sql

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

-- functions/capture_usage.sql

create or replace function pgledger.capture_usage(
  account_id text,
  key text,
  quantities jsonb,
  shortfall text default 'REFUSE',
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_request pgledger._request := pgledger._settlement(
    capture_usage.account_id, capture_usage.key, capture_usage.raise_refusals);
  v_estimate jsonb;
  v_cost bigint;
  v_answer pgledger.posting;
begin
  perform pgledger._check_quantities(capture_usage.quantities);
  if not coalesce(capture_usage.shortfall in ('REFUSE', 'PARTIAL', 'DEBT'), false) then
    perform pgledger._reject('shortfall', capture_usage.shortfall, 'One of REFUSE, PARTIAL, DEBT.');
  end if;
  perform pgledger._check_labels(null, null, null, capture_usage.metadata);

  -- What a hold was made of never changes, so it is read before anything is locked.
  select p.usage into v_estimate
  from pgledger.pending_transactions p
  where p.account_id = capture_usage.account_id collate "default"
    and p.key = capture_usage.key collate "default";
  if v_estimate is not null and capture_usage.metadata is null then
    select p.cost, p.usage into v_cost, v_request.usage
    from pgledger._priced(v_estimate ->> 'code', capture_usage.quantities,
      (v_estimate ->> 'valid_from')::timestamptz) p;
    if v_cost > 0 then
      v_answer := pgledger._capture(
        capture_usage.account_id collate "default", capture_usage.key, v_cost, v_request.usage);
      if v_answer.status is not null then
        return v_answer;
      end if;
    end if;
  end if;

  v_request.shortfall := capture_usage.shortfall;
  v_request.metadata := capture_usage.metadata;
  return pgledger._capture_usage(v_request, capture_usage.quantities);
end;
$$;

comment on function pgledger.capture_usage(text, text, jsonb, text, jsonb, boolean) is
  'Charges what was really used to a hold of hold_usage, under the hold''s own key, at the prices '
  'of the hold: what it costs is captured, the rest released; what costs nothing releases all of '
  'it (the answer is CANCELLED). What costs more captures the whole hold, and what is above it is '
  'a transaction of its own, #excess-<seq>, in the same call; where credits do not cover that, '
  'shortfall decides: REFUSE refuses the whole call and leaves the hold open, PARTIAL takes what '
  'is there, DEBT goes down to debt_floor. The answer is the capture, its requested_amount all '
  'that was used. metadata is merged. A repeat with the same quantities changes nothing. Refuses '
  'with LG001, LG002, LG004 and LG008 (of what is above the hold), LG006, LG007 (released, '
  'expired: spend_usage under another key), LG011, 22003, 22023 and 22004.';

revoke all on function
  pgledger.capture_usage(text, text, jsonb, text, jsonb, boolean) from public;

-- functions/list_prices.sql

-- A page counts codes, so that no list is cut in two.
create or replace function pgledger.list_prices(
  code text default null,
  at timestamptz default null,
  include_past boolean default false,
  limit_count bigint default 1000,
  after_code text default null
) returns setof pgledger.unit_price
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  with lists as (
    select l.code, l.valid_from, l.rounding, l.metadata,
      lead(l.valid_from) over (partition by l.code order by l.valid_from) as valid_until
    from pgledger.price_lists l
    where (list_prices.code is null or l.code = list_prices.code)
      and (list_prices.after_code is null
        or l.code collate "C" > list_prices.after_code collate "C")
  ), asked as (
    select s.code, s.valid_from, s.valid_until, s.rounding, p.unit, p.credits_per_unit, s.metadata,
      dense_rank() over (order by s.code collate "C") as place
    from lists s
    join pgledger.prices p on p.code = s.code and p.valid_from = s.valid_from
    where s.valid_from <= coalesce(list_prices.at, statement_timestamp())
      and (list_prices.include_past
        or (s.valid_until <= coalesce(list_prices.at, statement_timestamp())) is not true)
  )
  select a.code, a.valid_from, a.valid_until, a.rounding, a.unit, a.credits_per_unit,
    coalesce(a.metadata, '{}')
  from asked a
  where a.place <= pgledger._checked_limit(list_prices.limit_count)
  order by a.code collate "C", a.valid_from desc, a.unit collate "C";
end;

comment on function pgledger.list_prices(text, timestamptz, boolean, bigint, text) is
  'What a code costs, or all codes do, now or at an instant (infinity: when all that is set '
  'holds): one row per unit, by code; valid_until is null where nothing follows. With '
  'include_past also what held before then, the latest first. What is no longer sold has no '
  'rows from then on. limit_count counts codes (1 to 10000), those after after_code where '
  'given. Refuses with 22023 and 22004.';

revoke all on function
  pgledger.list_prices(text, timestamptz, boolean, bigint, text) from public;

-- functions/check_auto_top_up.sql

create or replace function pgledger.check_auto_top_up(
  account_id text,
  reference text default null
) returns setof pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text collate "default" := pgledger._checked_account(check_auto_top_up.account_id);
  v_hot pgledger.balances;
  v_waiting pgledger.pending_transactions;
  v_answer pgledger.posting;
begin
  perform pgledger._check_labels(null, check_auto_top_up.reference, null, null);
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_account));

  select p.* into v_waiting
  from pgledger.auto_top_ups s
  join pgledger.pending_transactions p on p.account_id = v_account and p.key = s.waiting_for
  where s.account_id = v_account;

  if found then
    return next pgledger._as_posting(null, v_waiting, v_hot, true);
  else
    v_answer := pgledger._auto_top_up(
      v_account, check_auto_top_up.reference collate "default", v_hot.updated_at);
    if v_answer.status is not null then
      return next v_answer;
    end if;
  end if;
  perform pgledger._forget_unopened(v_account);
end;
$$;

comment on function pgledger.check_auto_top_up(text, text) is
  'Tops an account up now, or asks for it, if its auto-top-up is armed and available is below the '
  'threshold; for an application to call after setting it, or after a refused spend, which '
  'records nothing. One row: the intent or the INSTANT top-up; the intent that waits already, '
  'replayed; no row when nothing is to be done. Refuses with 22023 and 22004.';

revoke all on function pgledger.check_auto_top_up(text, text) from public;

-- functions/ack_events.sql

create or replace function pgledger.ack_events(account_ids text[], seqs bigint[]) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_event record;
  v_acked bigint := 0::bigint;
begin
  if ack_events.account_ids is null then
    perform pgledger._reject('account_ids', null, 'Name the account of each event.');
  end if;
  if cardinality(ack_events.account_ids) is distinct from cardinality(ack_events.seqs) then
    perform pgledger._reject('seqs', cardinality(ack_events.seqs)::text,
      'Give one seq for each account id.');
  end if;

  -- In one order for everybody, so that two of these never wait for each other.
  for v_event in
    select g.account_id collate "default" as account_id, g.seq
    from unnest(ack_events.account_ids, ack_events.seqs) g (account_id, seq)
    order by g.account_id collate "C", g.seq
  loop
    if v_event.account_id is null or v_event.seq is null then
      perform pgledger._reject(
        case when v_event.account_id is null then 'account_ids' else 'seqs' end, null,
        'Name each event by its account and its seq.');
    end if;
    update pgledger.events e
    set acked_at = v_now
    where e.account_id = v_event.account_id and e.seq = v_event.seq and e.acked_at is null;
    if found then
      v_acked := v_acked + 1;
    end if;
  end loop;
  return v_acked;
end;
$$;

comment on function pgledger.ack_events(text[], bigint[]) is
  'Acknowledges events by account and seq, pairwise: they are handed out no more. Returns how '
  'many were not acknowledged before; unknown ones are not counted. A repeat changes nothing. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.ack_events(text[], bigint[]) from public;

-- functions/get_credits.sql

create or replace function pgledger.get_credits(account_id text) returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_available bigint;
  v_attention_at timestamptz;
begin
  select b.balance - b.held, b.attention_at into v_available, v_attention_at
  from pgledger.balances b
  where b.account_id = get_credits.account_id collate "default";

  if v_attention_at > statement_timestamp() then
    return v_available;
  end if;
  select n.balance - n.held into v_available
  from pgledger._balance_now(pgledger._checked_account(get_credits.account_id collate "default")) n;
  return v_available;
end;
$$;

comment on function pgledger.get_credits(text) is
  'Available credits as of the start of the statement, minor units: balance minus what holds '
  'reserve. 0 for an unknown account. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_credits(text) from public;

-- functions/check_credits.sql

create or replace function pgledger.check_credits(account_id text, required bigint)
returns boolean
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now pgledger.balances;
begin
  if not coalesce(check_credits.required > 0, false) then
    perform pgledger._reject('required', check_credits.required::text,
      'Ask for a positive whole number of minor units.');
  end if;

  v_now := pgledger._balance_now(
    pgledger._checked_account(check_credits.account_id collate "default"));
  return v_now.attention_at > '-infinity'
    and coalesce(v_now.cap_left >= check_credits.required, true)
    and pgledger._allows(v_now.balance, v_now.held, v_now.floor, -check_credits.required);
end;
$$;

comment on function pgledger.check_credits(text, bigint) is
  'Whether a spend of required > 0 minor units would be accepted now; it promises nothing, only '
  'the spend itself decides. False for an unknown, frozen or closed account; never true when it '
  'could not be told. Refuses with 22023 and 22004.';

revoke all on function pgledger.check_credits(text, bigint) from public;

-- functions/get_transaction.sql

create or replace function pgledger.get_transaction(account_id text, key text)
returns setof pgledger.transaction
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select t.account_id, coalesce(t.key, '#' || t.seq), t.seq, t.type, t.amount,
    coalesce(t.requested_amount, t.amount), t.running_balance, 'POSTED', t.reference,
    t.external_id, coalesce(t.metadata, '{}'), t.created_at, null::timestamptz, t.original_seq,
    t.counterparty, t.usage
  from pgledger.transactions t
  where t.account_id = pgledger._checked_account(get_transaction.account_id)
    and (
      t.key = pgledger._checked_key(get_transaction.key)
      or t.seq = pgledger._seq_of(get_transaction.key))
  union all
  select p.account_id, p.key, null, p.type, p.amount, coalesce(p.requested_amount, p.amount),
    null, pgledger._pending_status(p.status, p.expires_at, statement_timestamp())::text,
    p.reference, p.external_id, coalesce(p.metadata, '{}'), p.created_at, p.expires_at, null, null,
    p.usage
  from pgledger.pending_transactions p
  where p.account_id = pgledger._checked_account(get_transaction.account_id)
    and p.key = pgledger._checked_key(get_transaction.key)
    and p.status <> 'ENABLED';
end;

comment on function pgledger.get_transaction(text, text) is
  'The transaction of a key, or of #<seq>: the posted one, or the pending one that was not '
  'enabled; no row when there is none. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_transaction(text, text) from public;

-- functions/history.sql

create or replace function pgledger.history(
  account_id text,
  limit_count bigint default 100,
  before_seq bigint default null,
  type pgledger.transaction_type default null
) returns setof pgledger.transaction
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select t.account_id, coalesce(t.key, '#' || t.seq), t.seq, t.type, t.amount,
    coalesce(t.requested_amount, t.amount), t.running_balance, 'POSTED', t.reference,
    t.external_id, coalesce(t.metadata, '{}'), t.created_at, null::timestamptz, t.original_seq,
    t.counterparty, t.usage
  from pgledger.transactions t
  where t.account_id = pgledger._checked_account(history.account_id)
    and t.seq < coalesce(history.before_seq, 9223372036854775807)
    and (history.type is null or t.type = history.type)
  order by t.seq desc
  limit pgledger._checked_limit(history.limit_count);
end;

comment on function pgledger.history(text, bigint, bigint, pgledger.transaction_type) is
  'The account''s posted transactions, newest first: limit_count of them (1 to 10000), before '
  'before_seq (the seq of the last row seen) where given, of one type where given. Refuses with '
  '22023 and 22004.';

revoke all on function
  pgledger.history(text, bigint, bigint, pgledger.transaction_type) from public;

-- functions/usage_by_reference.sql

-- Walks the journal backwards and stops at the page's end: a group appears where its last spend
-- is, and is summed by the reference index, however far back it goes.
create or replace function pgledger.usage_by_reference(
  account_id text,
  limit_count bigint default 100,
  before_seq bigint default null
) returns table (
  reference text,
  spends bigint,
  amount bigint,
  first_seq bigint,
  last_seq bigint,
  first_at timestamptz,
  last_at timestamptz
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_left bigint := pgledger._checked_limit(usage_by_reference.limit_count);
  v_account text collate "default" := pgledger._checked_account(usage_by_reference.account_id);
  v_before bigint := coalesce(usage_by_reference.before_seq, 9223372036854775807);
  v_seen text[] collate "default" := '{}'::text[];
  v_spend record;
begin
  for v_spend in
    select t.seq, t.reference, t.amount, t.created_at
    from pgledger.transactions t
    where t.account_id = v_account and t.type = 'USAGE' and t.seq < v_before
    order by t.seq desc
  loop
    continue when v_spend.reference = any (v_seen);

    if v_spend.reference is null then
      return query select null::text, 1::bigint, v_spend.amount, v_spend.seq, v_spend.seq,
        v_spend.created_at, v_spend.created_at;
    else
      v_seen := v_seen || v_spend.reference;
      return query
        select v_spend.reference, count(*), sum(t.amount)::bigint, min(t.seq), max(t.seq),
          min(t.created_at), max(t.created_at)
        from pgledger.transactions t
        where t.account_id = v_account and t.reference = v_spend.reference and t.type = 'USAGE'
        having max(t.seq) < v_before;
      -- A group that also has later spends was on an earlier page.
      continue when not found;
    end if;

    v_left := v_left - 1;
    exit when v_left = 0;
  end loop;
end;
$$;

comment on function pgledger.usage_by_reference(text, bigint, bigint) is
  'What was used, one row per reference (an execution, a chat, an order), the latest first: how '
  'many spends and their sum, signed, in minor units. A spend without a reference is a row of its '
  'own. limit_count rows (1 to 10000), before before_seq (the last_seq of the last row seen) '
  'where given. Refuses with 22023 and 22004.';

revoke all on function pgledger.usage_by_reference(text, bigint, bigint) from public;

-- functions/balance_at.sql

-- created_at never decreases with seq, so the last transaction up to an instant is found by
-- bisection over the primary key: about log2(n) index probes, and no index of its own.
create or replace function pgledger.balance_at(account_id text, at timestamptz) returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text collate "default" := pgledger._checked_account(balance_at.account_id);
  v_low bigint := 0::bigint;
  v_high bigint;
  v_middle bigint;
  v_found record;
  v_balance bigint := 0::bigint;
  v_hot pgledger.balances;
begin
  if not coalesce(isfinite(balance_at.at), false) then
    perform pgledger._reject('at', balance_at.at::text, 'Give a finite point in time.');
  end if;

  select max(t.seq) into v_high
  from pgledger.transactions t
  where t.account_id = v_account;

  -- All up to v_low is in time; all above v_high is not.
  while v_low < v_high loop
    v_middle := v_high - (v_high - v_low) / 2;
    -- At or below, not equal: the history of another system may have gaps.
    select t.seq, t.created_at, t.running_balance into v_found
    from pgledger.transactions t
    where t.account_id = v_account and t.seq <= v_middle
    order by t.seq desc
    limit 1;

    if v_found.created_at > balance_at.at then
      v_high := v_found.seq - 1;
    else
      -- In time, or nothing there: that history may also begin late.
      v_balance := coalesce(v_found.running_balance, v_balance);
      v_low := v_middle;
    end if;
  end loop;

  v_hot := pgledger._balance_row(v_account);
  -- What will be posted is what is due now, as of when it fell due.
  if v_hot.attention_at <= least(balance_at.at, statement_timestamp()) then
    select (v_balance + coalesce(sum(d.amount), 0))::bigint into v_balance
    from pgledger._due(v_hot, statement_timestamp()) d
    where d.due_at <= balance_at.at;
  end if;
  return v_balance;
end;
$$;

comment on function pgledger.balance_at(text, timestamptz) is
  'The balance right after the last transaction up to and including an instant, minor units, '
  'with what fell due by then and is not posted yet; 0 before the first, and for an unknown '
  'account. Of refills that a plan grants only for the current period (TOP_UP_TO, RESET) those '
  'of periods that went by unposted are not in it. Refuses an infinite or missing instant with '
  '22023 and 22004.';

revoke all on function pgledger.balance_at(text, timestamptz) from public;

-- functions/expiring.sql

create or replace function pgledger.expiring(
  account_id text,
  within interval default '30 days'
) returns table (
  lot bigint,
  key text,
  amount bigint,
  held bigint,
  expires_at timestamptz,
  priority integer
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pgledger._checked_span('within', expiring.within);
  return query
    select n.lot, coalesce(t.key, '#' || n.lot), n.remaining, n.held, n.expires_at, n.priority
    from pgledger._lots_now(
      pgledger._checked_account(expiring.account_id collate "default"), statement_timestamp(),
      false) n
    left join pgledger.transactions t
      on t.account_id = expiring.account_id collate "default" and t.seq = n.lot
    where n.remaining > 0
      and n.expires_at < 'infinity'
      and n.expires_at <=
        (statement_timestamp() at time zone 'UTC' + expiring.within) at time zone 'UTC'
    order by n.expires_at, n.lot;
end;
$$;

comment on function pgledger.expiring(text, interval) is
  'What of an account is about to expire within a time above 0 and of at most 100 years, '
  'soonest first: which lot, how much would go (minor units), what holds reserve in it besides, '
  'which goes when they are released. Refuses with 22023 and 22004.';

revoke all on function pgledger.expiring(text, interval) from public;

-- functions/explain_transaction.sql

create or replace function pgledger.explain_transaction(account_id text, key text)
returns table (
  place bigint,
  lot bigint,
  lot_key text,
  amount bigint,
  priority integer,
  expires_at timestamptz,
  reason text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  with sources as (
    select e.lot, e.amount, e.priority, e.expires_at, e.reason, e.place
    from pgledger.transactions t
    cross join lateral pgledger._explain_posted(t) e
    where t.account_id = pgledger._checked_account(explain_transaction.account_id)
      and (
        t.key = pgledger._checked_key(explain_transaction.key)
        or t.seq = pgledger._seq_of(explain_transaction.key))
    union all
    select r.lot, r.amount, l.priority, l.expires_at,
      'reserved; ' || pgledger._why_drawn(null, l, false), r.place
    from pgledger._reserved(explain_transaction.account_id) r
    left join pgledger.lots l on l.account_id = explain_transaction.account_id and l.seq = r.lot
    where r.key = explain_transaction.key
      and (r.expires_at <= statement_timestamp()) is not true
  )
  select row_number() over (order by s.place), s.lot, coalesce(t.key, '#' || s.lot), s.amount,
    coalesce(s.priority, 0), nullif(s.expires_at, 'infinity'), s.reason
  from sources s
  left join pgledger.transactions t
    on t.account_id = explain_transaction.account_id and t.seq = s.lot
  order by s.place;
end;

comment on function pgledger.explain_transaction(text, text) is
  'Which lots paid for the transaction of a key, or of #<seq>, and why in that order: one row '
  'per source, lot null for the pool. Of a credit, where it went; of a reversal, what it gave '
  'back to whom; of an open hold, what it reserves. amount is above 0, minor units; expires_at '
  'is the lot''s as it is now, null where it never expires. No row when there is no such '
  'transaction, or what it used cost nothing. Refuses with 22023 and 22004.';

revoke all on function pgledger.explain_transaction(text, text) from public;

-- functions/explain_balance.sql

create or replace function pgledger.explain_balance(account_id text)
returns table (
  item text,
  lot bigint,
  key text,
  amount bigint,
  expires_at timestamptz,
  words text
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text collate "default" := pgledger._checked_account(explain_balance.account_id);
  v_now timestamptz := statement_timestamp();
  v_row pgledger.balances := pgledger._balance_row(v_account);
  v_hot pgledger.balances := pgledger._without_due(v_row, v_now);
  v_pool bigint;
begin
  select (v_hot.balance - coalesce(sum(n.amount), 0))::bigint into v_pool
  from (
    select n.remaining + n.held as amount
    from pgledger._lots_now(v_account, v_now, false) n
    union all
    select d.amount
    from pgledger._allowance_due(v_row, v_now) d
  ) n;

  return query
    select i.item, i.lot, i.key, i.amount, i.expires_at, i.words
    from (
      select 1 as place, 0::bigint as rank, 'pool' as item, null::bigint as lot, null::text as key,
        greatest(v_pool, 0) as amount, null::timestamptz as expires_at,
        'credits without an expiry or a priority' as words
      union all
      select 2, row_number() over (order by l.priority, l.expires_at, l.lot), 'lot', l.lot, l.key,
        l.remaining + l.held, l.expires_at,
        'priority ' || l.priority || case when l.held > 0 then ', held: ' || l.held else '' end
      from pgledger.lots(v_account, false, 10000) l
      union all
      select 2, 9223372036854775807, 'lot', null, d.key, d.amount, d.expires_at,
        'priority 0, not posted yet'
      from pgledger._allowance_due(v_row, v_now) d
      union all
      select 3, 0, 'debt', null, null, v_pool, null, 'the next credits pay it first'
      where v_pool < 0
      union all
      select 4, 0, 'balance', null, null, v_hot.balance, null, 'all of the above'
      union all
      select 5, 0, 'held', null, null, -v_hot.held, null, 'reserved by open holds'
      union all
      select 6, 0, 'available', null, null, v_hot.balance - v_hot.held, null,
        'the balance without what is held'
      union all
      select 7, row_number() over (order by d.due_at), 'due', d.lot,
        coalesce(d.key, t.key, '#' || d.lot), d.amount, d.due_at,
        case when d.lot is null then 'refill' else 'expiry' end
          || ' counted above, posted with the next write'
      from pgledger._due(v_row, v_now) d
      left join pgledger.transactions t on t.account_id = v_account and t.seq = d.lot
      union all
      select 8, 0, 'refill', null, n.plan, n.amount, n.refill_at,
        case n.policy when 'TOP_UP_TO' then 'plan, fills up to the amount' else 'plan' end
      from pgledger.get_plan(v_account) n
    ) i
    order by i.place, i.rank;
end;
$$;

comment on function pgledger.explain_balance(text) is
  'The balance of an account in rows and words, as of the start of the statement, minor units: '
  'the pool, each lot with something left, a debt where there is one; the balance, which is '
  'their sum; what holds reserve of it (below 0) and what is available; then what fell due and '
  'is counted above but not posted yet (expires_at says when), and the next refill (expires_at '
  'says when). Refuses with 22023 and 22004.';

revoke all on function pgledger.explain_balance(text) from public;

-- functions/list_events.sql

create or replace function pgledger.list_events(
  account_id text default null,
  limit_count bigint default 100
) returns setof pgledger.events
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_events.limit_count);
begin
  if list_events.account_id is null then
    return query
      select e.*
      from pgledger.events e
      order by e.created_at desc, e.account_id collate "C", e.seq desc
      limit v_limit;
  else
    return query
      select e.*
      from pgledger.events e
      where e.account_id = pgledger._checked_account(list_events.account_id collate "default")
      order by e.seq desc
      limit v_limit;
  end if;
end;
$$;

comment on function pgledger.list_events(text, bigint) is
  'The latest events, of one account or of all, newest first, limit_count of them (1 to 10000), '
  'acknowledged or not; takes none from whoever claims them. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_events(text, bigint) from public;

-- functions/get_plan.sql

create or replace function pgledger.get_plan(account_id text)
returns table (
  plan text,
  policy pgledger.refill_policy,
  amount bigint,
  period interval,
  anchor pgledger.plan_anchor,
  time_zone text,
  starts_at timestamptz,
  refill_at timestamptz,
  next_plan text,
  allowance_left bigint
)
language plpgsql stable rows 1 security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := statement_timestamp();
  v_account text collate "default" := pgledger._checked_account(get_plan.account_id);
  v_on pgledger.account_plans;
  v_plan pgledger.plans;
begin
  select n.* into v_on
  from pgledger._plan_now(v_account, v_now) n;
  if not found then
    return;
  end if;

  select p.* into strict v_plan
  from pgledger.plans p
  where p.code = v_on.plan;
  if v_on.refill_at <= v_now then
    v_on.refill_at := pgledger._period_end(v_plan.period, v_plan.time_zone,
      pgledger._period_anchor(v_on, v_plan), v_now);
  end if;

  return query select v_on.plan, v_plan.policy, v_plan.amount, v_plan.period, v_plan.anchor,
    v_plan.time_zone, v_on.starts_at, v_on.refill_at, v_on.next_plan,
    pgledger._allowance_left(v_account, v_now);
end;
$$;

comment on function pgledger.get_plan(text) is
  'The plan an account is on now, its terms and what comes next: refill_at, and next_plan where a '
  'change waits for that. allowance_left is what remains of the allowance of this period, minor '
  'units, null but for RESET. No row when on no plan. What is due counts. Refuses with 22023 and '
  '22004.';

revoke all on function pgledger.get_plan(text) from public;

-- functions/get_spending_cap.sql

create or replace function pgledger.get_spending_cap(account_id text)
returns table (
  amount bigint,
  period interval,
  time_zone text,
  used bigint,
  remaining bigint,
  resets_at timestamptz
)
language plpgsql stable rows 1 security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := statement_timestamp();
  v_cap pgledger.spending_caps;
  v_left bigint;
begin
  select c.* into v_cap
  from pgledger.spending_caps c
  where c.account_id = pgledger._checked_account(get_spending_cap.account_id collate "default");
  if not found then
    return;
  end if;

  if v_cap.resets_at > v_now then
    select b.cap_left into v_left
    from pgledger.balances b
    where b.account_id = v_cap.account_id;
  end if;
  -- The period has ended, or the balance row is not there yet.
  if v_left is null then
    select n.cap_left, n.resets_at into strict v_left, v_cap.resets_at
    from pgledger._cap_now(v_cap.account_id, v_now) n;
  end if;

  return query select v_cap.amount, v_cap.period, v_cap.time_zone,
    least(v_cap.amount::numeric - v_left, 9223372036854775807)::bigint,
    greatest(v_left, 0), v_cap.resets_at;
end;
$$;

comment on function pgledger.get_spending_cap(text) is
  'The spending cap of an account, what was used of it in the current period (reversals '
  'deducted), what remains and when it resets; minor units, both 0 or above. remaining is 0 when '
  'captures went beyond the cap. No row without one. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_spending_cap(text) from public;

-- functions/_verify_journal.sql

create or replace function pgledger._verify_journal(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, t.seq, t.key, r.expected, r.found
  from (
    select
      t.*,
      lag(t.seq, 1, 0::bigint) over w as previous_seq,
      lag(t.running_balance, 1, 0::bigint) over w as previous_balance,
      lag(t.created_at, 1, t.created_at) over w as previous_at
    from pgledger.transactions t
    where t.account_id = _verify_journal.account_id
    window w as (order by t.seq)
  ) t
  cross join lateral (values
    ('seq without a gap',
      t.seq = t.previous_seq + 1, (t.previous_seq + 1)::text, t.seq::text),
    ('running_balance is the previous one plus amount',
      t.running_balance = t.previous_balance::numeric + t.amount,
      (t.previous_balance::numeric + t.amount)::text, t.running_balance::text),
    ('created_at never decreases',
      isfinite(t.created_at) and t.created_at >= t.previous_at,
      t.previous_at::text, t.created_at::text),
    ('amount is part of requested_amount',
      coalesce(
        sign(t.requested_amount) = sign(t.amount)
          and abs(t.requested_amount::numeric) > abs(t.amount::numeric),
        t.requested_amount is null),
      t.requested_amount::text, t.amount::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_journal(text) is
  'What is wrong with the posted transactions of an account, each against the one before. Private.';

revoke all on function pgledger._verify_journal(text) from public;

-- functions/_verify_originals.sql

create or replace function pgledger._verify_originals(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, u.seq, u.key, r.expected, r.found
  from (
    select t.*, sum(t.amount) filter (where t.type <> 'EXPIRY')
        over (partition by t.original_seq order by t.seq) as undone
    from pgledger.transactions t
    where t.account_id = _verify_originals.account_id and t.original_seq is not null
  ) u
  left join pgledger.transactions o
    on o.account_id = _verify_originals.account_id and o.seq = u.original_seq
  cross join lateral (values
    ('an original is an earlier transaction',
      o.seq is not null and o.seq < u.seq, 'one before #' || u.seq, '#' || u.original_seq),
    ('a refund takes back a top-up, a reversal undoes another movement',
      coalesce(
        sign(u.amount) = -sign(o.amount)
          and (
            (u.type = case o.type when 'TOP_UP' then 'REFUND' else 'REVERSAL' end
                ::pgledger.transaction_type
              and o.type not in ('REVERSAL', 'REFUND', 'EXPIRY', 'TRANSFER'))
            or u.key = '#revoke-' || o.seq
            or (u.type = 'EXPIRY' and u.lot = o.seq)),
        true),
      'the opposite of ' || o.type || ' ' || o.amount, u.type || ' ' || u.amount),
    ('refunds and reversals are at most their original',
      coalesce(abs(u.undone) <= abs(o.amount::numeric), true),
      'at most ' || -o.amount::numeric, u.undone::text)
  ) r (rule, holds, expected, found)
  where not r.holds;
end;

comment on function pgledger._verify_originals(text) is
  'Where refunds and reversals of an account do not fit what they undo. Private.';

revoke all on function pgledger._verify_originals(text) from public;

-- functions/_usage_sum.sql

create or replace function pgledger._usage_sum(
  usage jsonb, out exact numeric, out adds_up boolean, out units jsonb
)
language sql immutable parallel safe
begin atomic
  select sum(n.numbers[1] * n.numbers[2]),
    coalesce(bool_and(coalesce(n.numbers[1] * n.numbers[2] = n.numbers[3], false)), false),
    jsonb_object_agg(e.key, e.value -> 'credits_per_unit')
  from jsonb_each(case jsonb_typeof(_usage_sum.usage -> 'breakdown')
    when 'object' then _usage_sum.usage -> 'breakdown' else '{}' end) e
  -- What was planted may be anything: nothing is cast that is no number.
  cross join lateral (
    select array_agg(case jsonb_typeof(e.value -> f.name)
      when 'number' then (e.value -> f.name)::numeric end order by f.place) as numbers
    from (values (1, 'quantity'), (2, 'credits_per_unit'), (3, 'credits')) f (place, name)
  ) n;
end;

comment on function pgledger._usage_sum(jsonb) is
  'What the breakdown of recorded usage adds up to, whether each of its products is one, and the '
  'prices in it. Private.';

revoke all on function pgledger._usage_sum(jsonb) from public;

-- functions/_verify_usage.sql

create or replace function pgledger._verify_usage(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, u.seq, u.key, r.expected, r.found
  from (
    select t.seq, t.key, t.type, coalesce(t.requested_amount, t.amount) as amount, t.usage
    from pgledger.transactions t
    where t.account_id = _verify_usage.account_id and t.usage is not null
    union all
    select null, p.key, p.type, coalesce(p.requested_amount, p.amount), p.usage
    from pgledger.pending_transactions p
    where p.account_id = _verify_usage.account_id and p.usage is not null
  ) u
  cross join lateral pgledger._usage_sum(u.usage) s
  left join pgledger.price_lists l
    on l.code = u.usage ->> 'code' and pgledger._utc(l.valid_from) = u.usage ->> 'valid_from'
  cross join lateral (values
    ('usage adds up',
      s.adds_up and u.usage -> 'exact' = to_jsonb(s.exact),
      s.exact::text, u.usage ->> 'exact'),
    ('usage has the prices of its list',
      l.rounding::text = u.usage ->> 'rounding' and pgledger._prices_of(l) @> s.units,
      coalesce(l.rounding || ' ' || pgledger._prices_of(l)::text, 'a price list'),
      (u.usage ->> 'rounding') || ' ' || s.units),
    -- A list that is not known has no rounding, and is told of above.
    ('amount is what its usage costs',
      u.type = 'USAGE'
        and coalesce(-u.amount = pgledger._rounded(s.exact, l.rounding), true),
      'USAGE ' || -pgledger._rounded(s.exact, l.rounding), u.type || ' ' || u.amount)
  ) r (rule, holds, expected, found)
  where r.holds is not true
  union all
  select 'an excess is what its capture left', t.seq, t.key,
    c.requested_amount - c.amount || ' beside #' || c.seq,
    coalesce(t.requested_amount, t.amount)::text
  from pgledger.transactions t
  left join pgledger.transactions c
    on c.account_id = _verify_usage.account_id and c.seq = t.seq - 1
  where t.account_id = _verify_usage.account_id and starts_with(t.key, '#excess-')
    and (
      t.key = '#excess-' || c.seq
      and c.usage is not null
      and coalesce(t.requested_amount, t.amount) = c.requested_amount - c.amount
      and t.reference is not distinct from c.reference
    ) is not true;
end;

comment on function pgledger._verify_usage(text) is
  'Where what was used does not add up to the amount of its transaction or hold, or has no such '
  'prices. Private.';

revoke all on function pgledger._verify_usage(text) from public;

-- functions/verify.sql

-- JIT is off: to compile so large a query takes far longer than to run it.
create or replace function pgledger.verify(account_id text default null)
returns table (account_id text, rule text, seq bigint, key text, expected text, found text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
set jit = off
begin atomic
  with subjects as (
    select case when verify.account_id is not null
      then pgledger._checked_account(verify.account_id) end as account_id
    where verify.account_id is not null
    union
    select t.account_id from pgledger.transactions t where verify.account_id is null
    union
    select p.account_id from pgledger.pending_transactions p where verify.account_id is null
    union
    select b.account_id from pgledger.balances b where verify.account_id is null
    union
    select a.account_id from pgledger.accounts a where verify.account_id is null
    union
    select u.account_id from pgledger.auto_top_ups u where verify.account_id is null
    union
    select l.account_id from pgledger.lots l where verify.account_id is null
    union
    select d.account_id from pgledger.draws d where verify.account_id is null
    union
    select r.account_id from pgledger.reservations r where verify.account_id is null
    union
    select n.account_id from pgledger.account_plans n where verify.account_id is null
    union
    select c.account_id from pgledger.spending_caps c where verify.account_id is null
  )
  select s.account_id, v.rule, v.seq, v.key, v.expected, v.found
  from subjects s
  cross join lateral (
    select j.* from pgledger._verify_journal(s.account_id) j
    union all
    select b.* from pgledger._verify_balance(s.account_id) b
    union all
    select p.* from pgledger._verify_pending(s.account_id) p
    union all
    select a.* from pgledger._verify_account(s.account_id) a
    union all
    select o.* from pgledger._verify_originals(s.account_id) o
    union all
    select l.* from pgledger._verify_transfers(s.account_id) l
    union all
    select u.* from pgledger._verify_auto_top_up(s.account_id) u
    union all
    select n.* from pgledger._verify_lots(s.account_id) n
    union all
    select d.* from pgledger._verify_draws(s.account_id) d
    union all
    select r.* from pgledger._verify_reservations(s.account_id) r
    union all
    select h.* from pgledger._verify_pool(s.account_id) h
    union all
    select q.* from pgledger._verify_plans(s.account_id) q
    union all
    select c.* from pgledger._verify_caps(s.account_id) c
    union all
    select g.* from pgledger._verify_usage(s.account_id) g
  ) v
  union all
  select null, g.rule, null, null, g.expected, g.found
  from pgledger._verify_guard() g
  order by 1, 2, 3, 4;
end;

comment on function pgledger.verify(text) is
  'One row per disagreement between what is recorded and the ledger''s invariants, for one account '
  'or for all; no row when all is well. expected is what the rest of the record says, found what '
  'stands there. Reads one snapshot, so it is right while others write. For all accounts it reads '
  'everything.';

revoke all on function pgledger.verify(text) from public;

-- functions/_schema_version.sql

-- Written by tools/new_migration.py. In the database itself, in the transaction of the migration,
-- so that it is true also where the marks of migrations are elsewhere or lost.
create or replace function pgledger._schema_version() returns text
language sql immutable parallel safe
as $$ select '0004_batches_and_prices' $$;

comment on function pgledger._schema_version() is
  'The newest migration that is in this database. Private.';

revoke all on function pgledger._schema_version() from public;
