create or replace function pgledger.enable_transaction(
  account_id text,
  key text,
  external_id text default null,
  metadata jsonb default null,
  amount bigint default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
begin
  v_request := pgledger._settlement(
    enable_transaction.account_id, enable_transaction.key, enable_transaction.raise_refusals);
  v_request.amount := enable_transaction.amount;
  v_request.external_id := enable_transaction.external_id;
  v_request.metadata := enable_transaction.metadata;
  return pgledger._enable_by_key(v_request, false);
end;
$$;

comment on function pgledger.enable_transaction(text, text, text, jsonb, bigint, boolean) is
  'Makes a pending transaction effective: posts it under its own key. amount > 0 is the final '
  'amount where it differs from the announced one, minor units; external_id and metadata are '
  'added (metadata is merged). A ceiling is not judged again: who paid is credited. With an '
  'external_id it also enables a credit that was cancelled. Of a hold it is the capture. When the '
  'external_id had its effect under another key, that one is the answer and this announcement is '
  'dropped. A repeat, with the same amount or none, changes nothing and answers with the posted '
  'transaction. Refuses with LG002, LG004 (closed), LG006, LG007, LG009, 22003, 22023 and 22004.';

revoke all on function
  pgledger.enable_transaction(text, text, text, jsonb, bigint, boolean) from public;
