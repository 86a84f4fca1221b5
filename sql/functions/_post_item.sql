-- A repeat is not tried first: what is taken back leaves versions of the balance row behind, which
-- every later item of the transaction would walk over.
create or replace function pgledger._post_item(request pgledger._request, apart boolean)
returns pgledger.posting
language plpgsql
as $$
begin
  if not _post_item.apart and pgledger._is_plain(
      request.shortfall, request.external_id, request.ceiling_balance, request.credits_expire_at,
      request.priority)
    and pgledger._is_well_formed(
      request.amount, request.type, request.key, request.reference, request.metadata,
      request.usage)
    and (request.key is null or not exists (
      select from pgledger.transactions t
      where t.account_id = request.account_id and t.key = request.key))
  then
    return pgledger._post(
      request.account_id, request.amount, request.type, request.key, request.reference,
      request.metadata, request.shortfall, request.raise_refusals, request.usage);
  end if;
  return pgledger._post_under_lock(request);
end;
$$;

comment on function pgledger._post_item(pgledger._request, boolean) is
  'Posts one movement of a batch as the verb of its own would; apart, on an account whose balance '
  'row was made for the batch, under the lock, which opens the account. Private.';

revoke all on function pgledger._post_item(pgledger._request, boolean) from public;
