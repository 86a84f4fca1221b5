create or replace function pgledger._price_list_at(code text, at timestamptz)
returns pgledger.price_lists
language plpgsql stable
as $$
#variable_conflict use_column
declare
  v_list pgledger.price_lists;
begin
  select l.* into v_list
  from pgledger.price_lists l
  where l.code = _price_list_at.code and l.valid_from <= _price_list_at.at
  order by l.valid_from desc
  limit 1;
  return v_list;
end;
$$;

comment on function pgledger._price_list_at(text, timestamptz) is
  'The price list of a code in force at an instant; nulls when there is none. Private.';

revoke all on function pgledger._price_list_at(text, timestamptz) from public;
