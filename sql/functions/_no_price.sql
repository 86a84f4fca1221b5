create or replace function pgledger._no_price(
  code text, list pgledger.price_lists, unit text, at timestamptz
) returns jsonb
language plpgsql stable
as $$
#variable_conflict use_column
declare
  v_units jsonb;
  v_detail jsonb := jsonb_build_object('code', _no_price.code);
begin
  select jsonb_agg(p.unit order by p.unit collate "C") into v_units
  from pgledger.prices p
  where p.code = list.code and p.valid_from = list.valid_from;

  -- A list without prices says that the code is no longer sold.
  return jsonb_build_object('refusal', jsonb_build_object('sqlstate', 'LG011',
    'detail', v_detail || case
      when v_units is null then jsonb_build_object('at', pgledger._utc(_no_price.at))
      else jsonb_build_object('unit', _no_price.unit, 'units', v_units)
    end));
end;
$$;

comment on function pgledger._no_price(text, pgledger.price_lists, text, timestamptz) is
  'The refusal of a code without a price at an instant, or of a unit that its list lacks. Private.';

revoke all on function
  pgledger._no_price(text, pgledger.price_lists, text, timestamptz) from public;
