create or replace function pgledger.cancel_transaction(
  account_id text,
  key text,
  reason text default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return pgledger._cancel_by_key(
    pgledger._settlement(
      cancel_transaction.account_id, cancel_transaction.key, cancel_transaction.raise_refusals),
    cancel_transaction.reason, false);
end;
$$;

comment on function pgledger.cancel_transaction(text, text, text, boolean) is
  'Drops a pending transaction: it will not become effective, unless its money arrives after all '
  '(see enable_transaction). Its key stays taken. reason: 1 to 1000 characters, kept. A repeat '
  'changes nothing. Refuses with LG006, LG007 (already enabled), 22023 and 22004.';

revoke all on function pgledger.cancel_transaction(text, text, text, boolean) from public;
