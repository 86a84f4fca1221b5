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
  expires_at timestamptz default null,
  priority integer default 0,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
begin
  if add_transaction.priority is null then
    perform pgledger._reject('priority', null, 'A whole number; the pool''s priority is 0.');
  end if;
  -- What the fast path knows nothing of is judged under the lock, and so is what is no movement.
  if add_transaction.is_active
    and add_transaction.fail_insufficient_credits is not false
    and add_transaction.ceiling_balance is null
    and add_transaction.external_id is null
    and add_transaction.expires_at is null
    and add_transaction.priority = 0
    and add_transaction.amount <> 0
    and add_transaction.amount > -9223372036854775808
    and add_transaction.type is not null
  then
    return pgledger._post(
      add_transaction.account_id collate "default", add_transaction.amount, add_transaction.type,
      add_transaction.key, add_transaction.reference, add_transaction.metadata,
      'REFUSE', add_transaction.raise_refusals, null);
  end if;

  v_request := pgledger._asked(
    add_transaction.account_id, add_transaction.amount, add_transaction.type, add_transaction.key,
    case when add_transaction.fail_insufficient_credits is false then 'FORCE' else 'REFUSE' end,
    add_transaction.reference, add_transaction.metadata, add_transaction.raise_refusals, null);
  v_request.announced := not add_transaction.is_active;
  v_request.ceiling_balance := add_transaction.ceiling_balance;
  v_request.external_id := add_transaction.external_id;
  v_request.priority := add_transaction.priority;
  if add_transaction.amount < 0 and v_request.announced then
    v_request.expires_at := add_transaction.expires_at;
  else
    v_request.credits_expire_at := add_transaction.expires_at;
  end if;
  return pgledger._post_under_lock(v_request);
end;
$$;

comment on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  timestamptz, integer, boolean) is
  'Posts one movement of any type: amount > 0 credits, amount < 0 debits, in minor units. The '
  'first credit opens the account. is_active => false announces it, to be enabled or cancelled '
  'later; a debit is then a hold. ceiling_balance posts only what fits under it. '
  'fail_insufficient_credits => false debits whatever the balance, even of a frozen account (a '
  'chargeback). A credit with expires_at, an instant in the future, or with a priority other '
  'than 0 forms a lot: lower priorities are drawn first, then what expires first; from '
  'expires_at on what remains is gone. Of an announced debit expires_at is the hold''s own. A '
  'repeat of the key, or of the external_id in the same direction, changes nothing and answers '
  'with the original. Refuses with LG001, LG002, LG004, LG005, LG008, 22003, 22023 and 22004.';

revoke all on function pgledger.add_transaction(
  text, bigint, pgledger.transaction_type, text, boolean, bigint, boolean, text, text, jsonb,
  timestamptz, integer, boolean) from public;
