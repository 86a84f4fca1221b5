create or replace function pgledger._is_usage(code text, quantities jsonb) returns boolean
language sql immutable parallel safe
return coalesce(
  pgledger._is_label(code) and quantities <> '{}'
  and pgledger._wrong_units(quantities, false) is null, false);

comment on function pgledger._is_usage(text, jsonb) is
  'Whether _check_usage would let it pass. Private.';

revoke all on function pgledger._is_usage(text, jsonb) from public;
