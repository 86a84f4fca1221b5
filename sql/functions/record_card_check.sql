create or replace function pgledger.record_card_check(
  provider text,
  check_id text,
  account_id text,
  key text default null,
  amount bigint default null,
  customer text default null,
  payment_method text default null
) returns pgledger.card_check
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_answer pgledger.posting;
begin
  v_request := pgledger._asked(
    pgledger._checked_account(record_card_check.account_id), record_card_check.amount,
    'CARD_CHECK', record_card_check.key, 'REFUSE', null, null, true, null);
  v_request.external_id := record_card_check.check_id;
  perform pgledger._checked_provider(record_card_check.provider collate "default");
  perform pgledger._checked_provider_id('check_id', v_request.external_id);
  perform pgledger._check_labels(v_request.key, null, null, null);
  if v_request.amount <= 0 then
    perform pgledger._reject('amount', v_request.amount::text,
      'The credits that a card on file brings: a positive whole number of minor units, or none.');
  end if;

  v_hot := pgledger._lock_balance(v_request.account_id);
  v_answer := pgledger._post_card_check(
    v_request, v_hot, '#' || record_card_check.provider || '-' || v_request.external_id);
  perform pgledger._link_own(
    'CUSTOMER', record_card_check.customer collate "default", v_request.account_id);
  perform pgledger._link_own(
    'PAYMENT_METHOD', record_card_check.payment_method collate "default", v_request.account_id);
  return row(
    v_request.account_id, v_answer.key, v_answer.seq, v_answer.amount,
    coalesce(v_answer.balance, v_hot.balance), coalesce(v_answer.replayed, false)
  )::pgledger.card_check;
end;
$$;

comment on function pgledger.record_card_check(text, text, text, text, bigint, text, text) is
  'Tells that an account put a card on file, by the provider''s id of that: enables the CARD_CHECK '
  'that was announced under key, else gives amount credits (minor units), under key or one of the '
  'ledger''s own, where there is an amount; once. Links customer and payment_method to the '
  'account. seq is null where nothing was given. Refuses with LG002 (also where the customer or '
  'the card is another account''s), LG004 (closed), 22003, 22023 and 22004.';

revoke all on function
  pgledger.record_card_check(text, text, text, text, bigint, text, text) from public;
