create or replace function pgledger.match_payment(
  provider text,
  payment_id text,
  account_id text,
  amount bigint default null,
  key text default null,
  actor text default null
) returns pgledger.payment
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_told pgledger.payments;
  v_known pgledger.payments;
  v_payment pgledger.payments;
  v_answer pgledger.payment;
begin
  v_told.provider := match_payment.provider;
  v_told.payment_id := match_payment.payment_id;
  v_told.status := 'SUCCEEDED';
  v_told.account_id := pgledger._checked_account(match_payment.account_id);
  v_told.amount := match_payment.amount;
  v_told.key := match_payment.key;
  perform pgledger._check_payment(v_told, null);

  select p.* into v_known
  from pgledger.payments p
  where p.provider = v_told.provider and p.payment_id = v_told.payment_id
  for update;
  if not found then
    perform pgledger._refuse_payment(v_told, 'LG006', '{}');
  elsif v_known.status <> 'SUCCEEDED' then
    perform pgledger._refuse_payment(v_told, 'LG007', jsonb_build_object('status', v_known.status));
  elsif v_known.seq is not null then
    return pgledger._rematched_payment(v_known, v_told);
  end if;

  v_payment := v_known;
  v_payment.account_id := v_told.account_id;
  v_payment.key := coalesce(v_told.key, pgledger._key_to_match(v_known, v_told.account_id));
  v_payment := pgledger._credit_payment(v_payment, v_told.amount, true);
  v_answer := pgledger._keep_payment(v_known, v_payment);
  perform pgledger._audit(v_told.account_id, 'match_payment', match_payment.actor,
    jsonb_build_object('provider', v_told.provider, 'payment_id', v_told.payment_id,
      'amount', v_told.amount, 'key', v_told.key));
  return v_answer;
end;
$$;

comment on function pgledger.match_payment(text, text, text, bigint, text, text) is
  'Says whose an unmatched payment is, and credits it: amount, minor units, or what was told or '
  'announced; under key, or as it was told, or under a key of the ledger''s own. actor is who says '
  'so, for the audit log. A repeat changes nothing. Refuses with LG002 (credited otherwise), LG004 '
  '(closed), LG006 (no such payment, or nobody announced the key), LG007 (it has not succeeded), '
  '22003, 22023 and 22004.';

revoke all on function
  pgledger.match_payment(text, text, text, bigint, text, text) from public;
