create or replace function pgledger.transfer(
  from_account_id text,
  to_account_id text,
  amount bigint,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  raise_refusals boolean default true
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_debit pgledger._request;
  v_credit pgledger._request;
  v_from pgledger.balances;
  v_to pgledger.balances;
begin
  if not coalesce(transfer.amount > 0, false) then
    perform pgledger._reject('amount', transfer.amount::text,
      'A transfer is a positive whole number of minor units.');
  end if;
  v_debit := pgledger._asked(
    transfer.from_account_id, -transfer.amount, 'TRANSFER', transfer.key, 'REFUSE',
    transfer.reference, transfer.metadata, transfer.raise_refusals, null);
  v_debit.counterparty := transfer.to_account_id;
  v_credit := v_debit;
  v_credit.account_id := pgledger._checked_account(transfer.to_account_id);
  v_credit.amount := transfer.amount;
  v_credit.counterparty := pgledger._checked_account(transfer.from_account_id);
  if transfer.from_account_id collate "default" = transfer.to_account_id then
    perform pgledger._reject('to_account_id', transfer.to_account_id,
      'A transfer is between two accounts.');
  end if;
  perform pgledger._check_request(v_debit);

  -- One order for everybody, so that transfers in opposite directions wait instead of deadlocking.
  if transfer.from_account_id collate "C" < transfer.to_account_id collate "C" then
    v_from := pgledger._lock_balance(v_debit.account_id);
    v_to := pgledger._lock_balance(v_credit.account_id);
  else
    v_to := pgledger._lock_balance(v_credit.account_id);
    v_from := pgledger._lock_balance(v_debit.account_id);
  end if;
  return pgledger._transfer(v_debit, v_credit, v_from, v_to);
end;
$$;

comment on function pgledger.transfer(text, text, bigint, text, text, jsonb, boolean) is
  'Moves credits between two accounts of one currency: amount > 0, minor units; both legs are '
  'posted, or none. One key on both: a repeat changes nothing and answers with the sender''s '
  'original. The answer is the sender''s leg. The receiver must exist (LG003). Refuses with '
  'LG001, LG002, LG003, LG004 (sender frozen or closed, receiver closed), 22003, 22023 (other '
  'currency, same account) and 22004.';

revoke all on function
  pgledger.transfer(text, text, bigint, text, text, jsonb, boolean) from public;
