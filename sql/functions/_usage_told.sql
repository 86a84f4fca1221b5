create or replace function pgledger._usage_told(usage jsonb) returns jsonb
language sql immutable parallel safe
return case when usage is not null then jsonb_build_object(
  'code', usage -> 'code', 'quantities', pgledger._quantities_of(usage)) end;

comment on function pgledger._usage_told(jsonb) is
  'What makes two calls the same usage, of the record of it; null stays null. Private.';

revoke all on function pgledger._usage_told(jsonb) from public;
