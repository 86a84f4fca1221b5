create or replace function pgledger._settlement(
  account_id text, key text, raise_refusals boolean
) returns pgledger._request
language plpgsql
as $$
begin
  perform pgledger._checked_account(_settlement.account_id);
  if _settlement.key is null then
    perform pgledger._reject('key', null, 'Name the pending transaction by its key.');
  end if;
  perform pgledger._check_labels(_settlement.key, null, null, null);

  return row(
    _settlement.account_id, null, null, _settlement.key, false, null, 'REFUSE', null, null, null,
    _settlement.raise_refusals
  )::pgledger._request;
end;
$$;

comment on function pgledger._settlement(text, text, boolean) is
  'The request to settle a pending transaction, its account and key checked. Private.';

revoke all on function pgledger._settlement(text, text, boolean) from public;
