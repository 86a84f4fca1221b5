create or replace function pgledger._settlement(
  account_id text, key text, raise_refusals boolean
) returns pgledger._request
language plpgsql immutable parallel safe
as $$
begin
  return pgledger._asked(
    pgledger._checked_account(_settlement.account_id), null, null,
    pgledger._checked_key(_settlement.key), 'REFUSE', null, null, _settlement.raise_refusals, null);
end;
$$;

comment on function pgledger._settlement(text, text, boolean) is
  'The request to settle a pending transaction, its account and key checked. Private.';

revoke all on function pgledger._settlement(text, text, boolean) from public;
