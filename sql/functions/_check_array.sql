create or replace function pgledger._check_array(
  parameter text, given anyarray, items integer, required boolean
) returns void
language plpgsql
as $$
begin
  if given is null and _check_array.required then
    perform pgledger._reject(_check_array.parameter, null,
      'A batch names the account, the type, and the amount or the code of each item.');
  elsif array_ndims(given) > 1 or cardinality(given) <> items then
    perform pgledger._reject(_check_array.parameter, array_dims(given),
      'An array of one dimension, with one element for each of the account_ids: ' || items || '.');
  end if;
end;
$$;

comment on function pgledger._check_array(text, anyarray, integer, boolean) is
  'Refuses (22023, 22004) an array that is not one value for each item of a batch; null is none, '
  'where none is required. Private.';

revoke all on function pgledger._check_array(text, anyarray, integer, boolean) from public;
