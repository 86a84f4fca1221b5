create or replace function pgledger._sources_from(from_pool bigint, attention_at timestamptz)
returns pgledger._sources
language sql immutable parallel safe
return row(
  '{}'::bigint[], '{}'::bigint[], from_pool, 0::bigint, attention_at)::pgledger._sources;

comment on function pgledger._sources_from(bigint, timestamptz) is
  'Sources of a movement that names none yet: what the pool loses by it, and when a lot it '
  'touched ends. Private.';

revoke all on function pgledger._sources_from(bigint, timestamptz) from public;
