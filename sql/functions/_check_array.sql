create or replace function pgledger._check_array(parameter text, given anyarray, items integer)
returns void
language plpgsql
as $$
begin
  if array_ndims(given) > 1 or cardinality(given) <> items then
    perform pgledger._reject(_check_array.parameter, array_dims(given),
      'An array of one dimension, with one element for each of the account_ids: ' || items || '.');
  end if;
end;
$$;

comment on function pgledger._check_array(text, anyarray, integer) is
  'Refuses (22023) an array that is not one value for each item of a batch; null is none. Private.';

revoke all on function pgledger._check_array(text, anyarray, integer) from public;
