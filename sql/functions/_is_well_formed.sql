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
