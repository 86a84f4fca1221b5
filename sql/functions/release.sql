create or replace function pgledger.release(
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
    pgledger._settlement(release.account_id, release.key, release.raise_refusals),
    release.reason, true);
end;
$$;

comment on function pgledger.release(text, text, text, boolean) is
  'Gives back what a hold reserves; nothing is spent. reason: 1 to 1000 characters, kept. A '
  'repeat changes nothing. Refuses with LG006, LG007 (captured, expired), 22023 and 22004.';

revoke all on function pgledger.release(text, text, text, boolean) from public;
