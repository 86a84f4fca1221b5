create or replace function pgledger._as_enabled(
  request pgledger._request, pending pgledger.pending_transactions
) returns pgledger._request
language plpgsql
as $$
declare
  v_final pgledger._request := request;
begin
  v_final.type := pending.type;
  v_final.reference := pending.reference;
  v_final.credits_expire_at := pending.credits_expire_at;
  v_final.priority := pending.priority;
  -- What a hold says of its usage costs all of it; another amount is of usage not told.
  if request.usage is null and request.amount = pending.amount then
    v_final.usage := pending.usage;
  end if;

  if pending.amount < 0 then
    -- What was reserved is there, whatever the floor and the status say now.
    v_final.shortfall := 'FORCE';
    v_final.released := -pending.amount;
  end if;
  v_final.metadata :=
    case when request.metadata is null then pending.metadata
    else coalesce(pending.metadata, '{}') || request.metadata end;
  perform pgledger._check_labels(null, null, null, v_final.metadata);
  return v_final;
end;
$$;

comment on function pgledger._as_enabled(pgledger._request, pgledger.pending_transactions) is
  'The movement that a pending transaction becomes with the final amount of a request. Private.';

revoke all on function
  pgledger._as_enabled(pgledger._request, pgledger.pending_transactions) from public;
