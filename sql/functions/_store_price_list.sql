create or replace function pgledger._store_price_list(list pgledger.price_lists, prices jsonb)
returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  delete from pgledger.price_lists l
  where l.code = list.code and l.valid_from = list.valid_from;

  insert into pgledger.price_lists (code, valid_from, rounding, metadata)
  values (list.code, list.valid_from, list.rounding, list.metadata)
  on conflict (code, valid_from) do nothing;
  insert into pgledger.prices (code, valid_from, unit, credits_per_unit)
  select list.code, list.valid_from, e.key, pgledger._number(e.value, true)
  from jsonb_each(_store_price_list.prices) e;
end;
$$;

comment on function pgledger._store_price_list(pgledger.price_lists, jsonb) is
  'Writes a price list and its prices, in the place of one that is to come at the same instant. '
  'Private.';

revoke all on function pgledger._store_price_list(pgledger.price_lists, jsonb) from public;
