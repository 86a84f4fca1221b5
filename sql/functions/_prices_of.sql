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
