create or replace function pgledger._quantities_of(usage jsonb) returns jsonb
language sql immutable parallel safe
begin atomic
  select jsonb_object_agg(e.key, e.value -> 'quantity')
  from jsonb_each(_quantities_of.usage -> 'breakdown') e;
end;

comment on function pgledger._quantities_of(jsonb) is
  'How many of each unit were used, of the record of usage; null stays null. Private.';

revoke all on function pgledger._quantities_of(jsonb) from public;
