create or replace function pgledger._check_final_amount(request pgledger._request) returns void
language plpgsql
as $$
begin
  if request.amount <= 0 then
    perform pgledger._reject('amount', request.amount::text,
      'A final amount is a positive whole number of minor units.');
  end if;
  perform pgledger._check_labels(null, null, request.external_id, request.metadata);
end;
$$;

comment on function pgledger._check_final_amount(pgledger._request) is
  'Refuses (22023) what no announced credit could be enabled with. Private.';

revoke all on function pgledger._check_final_amount(pgledger._request) from public;
