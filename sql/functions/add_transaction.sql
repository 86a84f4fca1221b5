create or replace function pgledger.add_transaction(
  account_id text,
  amount bigint,
  type pgledger.transaction_type,
  key text default null,
  is_active boolean default true,
  ceiling_balance bigint default null,
  fail_insufficient_credits boolean default true,
  reference text default null,
  external_id text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What the fast path knows nothing of is judged under the lock, and so is what is no movement.
  if add_transaction.is_active
    and add_transaction.fail_insufficient_credits is not false
    and add_transaction.ceiling_balance is null
    and add_transaction.external_id is null
    and add_transaction.amount <> 0
    and add_transaction.amount > -9223372036854775808
    and add_transaction.type is not null
  then
    return pgledger._post(
      add_transaction.account_id, add_transaction.amount, add_transaction.type,
      add_transaction.key, add_transaction.reference, add_transaction.metadata,
      'REFUSE', add_transaction.raise_refusals);
  end if;

  return pgledger._post_under_lock(row(
    add_transaction.account_id, add_transaction.amount, add_transaction.type, add_transaction.key,
    not add_transaction.is_active, add_transaction.ceiling_balance,
    case when add_transaction.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    add_transaction.reference, add_transaction.external_id, add_transaction.metadata,
    add_transaction.raise_refusals, null, null, null,
    null, null, null, null, null
  )::pgledger._request);
end;
$$;

comment on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  boolean) is
  'Posts one movement of any type: amount > 0 credits, amount < 0 debits, in minor units. The '
  'first credit opens the account. is_active => false announces it, to be enabled or cancelled '
  'later; a debit is then a hold. ceiling_balance posts only what fits under it. '
  'fail_insufficient_credits => false debits whatever the balance, even of a frozen account (a '
  'chargeback). A repeat of the key, or of the external_id in the same direction, changes nothing '
  'and answers with the original. Refuses with LG001, LG002, LG004, LG005, 22003, 22023 and '
  '22004.';

revoke all on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  boolean) from public;
