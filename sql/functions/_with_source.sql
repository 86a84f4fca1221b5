create or replace function pgledger._with_source(
  sources pgledger._sources, lot bigint, amount bigint
) returns pgledger._sources
language plpgsql immutable
as $$
declare
  v_sources pgledger._sources := sources;
  v_last integer := cardinality(sources.lots);
begin
  if _with_source.lot is null then
    v_sources.from_pool := sources.from_pool + _with_source.amount;
  end if;
  -- What the pool has and then owes is one source, not two.
  if v_last > 0 and sources.lots[v_last] is not distinct from _with_source.lot then
    v_sources.amounts[v_last] := sources.amounts[v_last] + _with_source.amount;
  else
    v_sources.lots := sources.lots || _with_source.lot;
    v_sources.amounts := sources.amounts || _with_source.amount;
  end if;
  return v_sources;
end;
$$;

comment on function pgledger._with_source(pgledger._sources, bigint, bigint) is
  'Sources of a movement and one more: a lot, or null for the pool, and how much of it, below 0 '
  'for what it gets back. Private.';

revoke all on function pgledger._with_source(pgledger._sources, bigint, bigint) from public;
