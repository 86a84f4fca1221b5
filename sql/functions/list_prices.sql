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
