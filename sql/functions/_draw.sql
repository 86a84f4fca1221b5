create or replace function pgledger._draw(
  hot pgledger.balances, wanted bigint, own_lot bigint, own_pool boolean
) returns pgledger._sources
language plpgsql
as $$
declare
  v_sources pgledger._sources := pgledger._sources_from(0::bigint, 'infinity'::timestamptz);
  v_left bigint := _draw.wanted;
  v_pool bigint := greatest(hot.pool - (hot.held - hot.held_in_lots), 0);
  v_lowest integer := -2147483648;
  v_highest integer := 2147483647;
  v_step text;
  v_part record;
begin
  foreach v_step in array
    case
      when _draw.own_lot is not null then '{OWN,BEFORE,POOL,AFTER,DEBT}'::text[]
      when _draw.own_pool then '{POOL,BEFORE,AFTER,DEBT}'::text[]
      else '{BEFORE,POOL,AFTER,DEBT}'::text[]
    end
  loop
    for v_part in
      select null::bigint as lot, case v_step when 'POOL' then least(v_left, v_pool) else v_left end
        as amount
      where v_step in ('POOL', 'DEBT')
      union all
      select t.lot, t.amount
      from pgledger._take_lots(
        hot.account_id, v_left,
        case v_step when 'OWN' then _draw.own_lot end,
        case v_step when 'AFTER' then 1 else v_lowest end,
        case v_step when 'BEFORE' then 0 else v_highest end) t
      where v_step not in ('POOL', 'DEBT')
    loop
      continue when v_part.amount = 0;
      v_sources := pgledger._with_source(v_sources, v_part.lot, v_part.amount);
      v_left := v_left - v_part.amount;
    end loop;
  end loop;
  return v_sources;
end;
$$;

comment on function pgledger._draw(pgledger.balances, bigint, bigint, boolean) is
  'Takes credits out of the lots of an account and says where they came from: out of a credit''s '
  'own lot, or the pool where it went there, first where given; then in draw order; the pool '
  'owes what is not there. What comes out of the pool is for the caller to subtract. Private.';

revoke all on function pgledger._draw(pgledger.balances, bigint, bigint, boolean) from public;
