create or replace function pgledger._asked(
  account_id text, amount bigint, type pgledger.transaction_type, key text, shortfall text,
  reference text, metadata jsonb, raise_refusals boolean, usage jsonb
) returns pgledger._request
language plpgsql immutable parallel safe
as $$
declare
  v_request pgledger._request;
begin
  v_request.account_id := _asked.account_id;
  v_request.amount := _asked.amount;
  v_request.type := _asked.type;
  v_request.key := _asked.key;
  v_request.announced := false;
  v_request.shortfall := _asked.shortfall;
  v_request.reference := _asked.reference;
  v_request.metadata := _asked.metadata;
  v_request.raise_refusals := _asked.raise_refusals;
  v_request.usage := _asked.usage;
  return v_request;
end;
$$;

comment on function pgledger._asked(
  text, bigint, pgledger.transaction_type, text, text, text, jsonb, boolean, jsonb) is
  'A movement as asked for, to be posted at once unless the caller says otherwise of it. '
  'Private.';

revoke all on function pgledger._asked(
  text, bigint, pgledger.transaction_type, text, text, text, jsonb, boolean, jsonb) from public;
