create or replace function pgledger.capture(
  account_id text,
  key text,
  amount bigint default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_answer pgledger.posting;
begin
  if capture.metadata is null and coalesce(capture.amount > 0, true) then
    v_answer := pgledger._capture(
      capture.account_id collate "default", capture.key, capture.amount, null);
    if v_answer.status is not null then
      return v_answer;
    end if;
  end if;

  v_request := pgledger._settlement(capture.account_id, capture.key, capture.raise_refusals);
  v_request.amount := capture.amount;
  v_request.metadata := capture.metadata;
  return pgledger._enable_by_key(v_request, true);
end;
$$;

comment on function pgledger.capture(text, text, bigint, jsonb, boolean) is
  'Spends what a hold reserves, once, under the hold''s own key: amount > 0 of it, minor units, '
  'or all of it; the rest is released. metadata is merged. Also on a frozen account. A repeat, '
  'with the same amount or none, changes nothing and answers with the posted transaction. Refuses '
  'with LG002 (captured with another amount), LG006, LG007 (released, expired), LG009 (more than '
  'was held), 22023 and 22004.';

revoke all on function pgledger.capture(text, text, bigint, jsonb, boolean) from public;
