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
  v_hot pgledger.balances;
  v_pending pgledger.pending_transactions;
  v_answer pgledger.posting;
begin
  v_request := pgledger._settlement(
    enable_transaction.account_id, enable_transaction.key, enable_transaction.raise_refusals);
  v_request.amount := enable_transaction.amount;
  v_request.external_id := enable_transaction.external_id;
  v_request.metadata := enable_transaction.metadata;
  perform pgledger._check_final_amount(v_request);

  v_hot := pgledger._lock_balance(v_request.account_id);
  select p.* into v_pending
  from pgledger.pending_transactions p
  where p.account_id = v_request.account_id and p.key = v_request.key;

  -- Late money, known by its external_id, is owed to the payer whatever became of the announcement.
  if not found or (v_pending.status in ('CANCELLED', 'EXPIRED') and v_request.external_id is null)
  then
    return pgledger._refuse_settled(v_request, v_hot);
  elsif v_pending.status = 'ENABLED' then
    return pgledger._replay_enabled(v_request, v_hot);
  end if;

  v_request.amount := coalesce(v_request.amount, v_pending.amount);
  v_request.external_id := coalesce(v_request.external_id, v_pending.external_id);
  v_answer := pgledger._replay_external_id(v_request, v_hot);
  if v_answer.status is not null then
    return v_answer;
  end if;

  return pgledger._enable(v_request, v_hot, v_pending);
end;
$$;

comment on function pgledger.enable_transaction(text, text, text, jsonb, bigint, boolean) is
  'Makes a pending transaction effective: posts it under its own key. amount > 0 is the final '
  'amount where it differs from the announced one, minor units; external_id and metadata are '
  'added (metadata is merged). A ceiling is not judged again: who paid is credited. With an '
  'external_id it also enables what was cancelled or expired. A repeat, with the same amount or '
  'none, changes nothing and answers with the posted transaction. Refuses with LG002, LG004 '
  '(closed), LG006, LG007, 22003, 22023 and 22004.';

revoke all on function
  pgledger.enable_transaction(text, text, text, jsonb, bigint, boolean) from public;
