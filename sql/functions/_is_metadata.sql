create or replace function pgledger._is_metadata(metadata jsonb) returns boolean
language sql immutable parallel safe
return jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 65536;

comment on function pgledger._is_metadata(jsonb) is
  'Whether a value can be metadata: a JSON object of at most 64 KiB as stored. Null stays null. '
  'Private.';

revoke all on function pgledger._is_metadata(jsonb) from public;
