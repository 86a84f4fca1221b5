create or replace function pgledger._price_all(requests pgledger._request[])
returns pgledger._request[]
language plpgsql stable
as $$
declare
  v_requests pgledger._request[] := requests;
  v_now timestamptz := clock_timestamp();
  v_usage jsonb;
  v_cost bigint;
begin
  for v_place in 1 .. cardinality(requests) loop
    v_usage := v_requests[v_place].usage;
    continue when v_requests[v_place].amount is not null
      or not pgledger._is_usage(v_usage ->> 'code', v_usage -> 'quantities');
    select p.cost, p.usage into v_cost, v_usage
    from pgledger._priced(v_usage ->> 'code', v_usage -> 'quantities', v_now) p;
    v_requests[v_place].amount := -v_cost;
    v_requests[v_place].usage := v_usage;
  end loop;
  return v_requests;
end;
$$;

comment on function pgledger._price_all(pgledger._request[]) is
  'The movements of a batch, those priced that are usage: code and quantities as asked for give '
  'way to the record of what they cost. Left as asked for is what cannot have been used. Private.';

revoke all on function pgledger._price_all(pgledger._request[]) from public;
