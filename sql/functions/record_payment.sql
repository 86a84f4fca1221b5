create or replace function pgledger.record_payment(
  provider text,
  payment_id text,
  status pgledger.payment_status,
  account_id text default null,
  key text default null,
  amount bigint default null,
  paid bigint default null,
  currency text default null,
  refunded bigint default null,
  customer text default null,
  reason text default null,
  occurred_at timestamptz default null,
  attempt bigint default null
) returns pgledger.payment
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_told pgledger.payments;
  v_known pgledger.payments;
  v_payment pgledger.payments;
begin
  v_told.provider := record_payment.provider;
  v_told.payment_id := record_payment.payment_id;
  v_told.status := record_payment.status;
  v_told.account_id := record_payment.account_id;
  v_told.key := record_payment.key;
  v_told.amount := record_payment.amount;
  v_told.paid := record_payment.paid;
  v_told.paid_currency := lower(record_payment.currency collate "C");
  v_told.refunded := record_payment.refunded;
  v_told.reason := record_payment.reason;
  v_told.occurred_at := record_payment.occurred_at;
  perform pgledger._check_payment(v_told, record_payment.attempt);
  if record_payment.customer is not null then
    v_told.customer := (pgledger._checked_identifier(
      record_payment.customer collate "default", 'CUSTOMER')).value;
  end if;

  v_known := pgledger._lock_payment(v_told.provider, v_told.payment_id);
  if v_known.seq is not null
    and (v_told.account_id <> v_known.account_id or v_told.key <> v_known.key)
  then
    if not pgledger._matched_by_hand(v_known) then
      perform pgledger._refuse_payment(v_known, 'LG002', jsonb_build_object(
        'recorded', jsonb_build_object('account_id', v_known.account_id, 'key', v_known.key),
        'given', jsonb_build_object('account_id', v_told.account_id, 'key', v_told.key)));
    end if;
    -- Who said otherwise knew what the provider tells, and it will tell it again with each refund.
    v_told.key := null;
  end if;

  v_payment := pgledger._merged_payment(v_known, v_told);
  if v_payment.status = 'SUCCEEDED' and v_payment.seq is null then
    v_payment := pgledger._credit_payment(v_payment, null, false);
    if v_payment.seq is null and v_known.status <> 'SUCCEEDED' then
      perform pgledger._tell_unmatched(v_payment);
    end if;
  elsif v_payment.status = 'FAILED' then
    perform pgledger._tell_failed(v_known, v_payment, record_payment.attempt);
  end if;
  return pgledger._keep_payment(v_known, v_payment);
end;
$$;

comment on function pgledger.record_payment(
  text, text, pgledger.payment_status, text, text, bigint, bigint, text, bigint, text, text,
  timestamptz, bigint) is
  'Tells what is known of a payment, by the provider''s id: from an event, from the answer to a '
  'charge, from a listing, in any order and however often. One that SUCCEEDED is credited to '
  'account_id, or to the account that customer is linked to: an announced top-up of that key is '
  'enabled with the amount announced, else amount (credits, minor units) is topped up; a top-up '
  'that has the payment''s id already is taken for it. What cannot be credited is kept with its '
  'reason and told as payment_unmatched, of the account #payments where nobody knows whose it is, '
  'and is tried again with whatever is told next, or by match_payment. paid and refunded (the sum) '
  'are money, in the smallest unit of currency. Of FAILED and PROCESSING the later occurred_at '
  'holds; SUCCEEDED is final. attempt is that of an auto-top-up which FAILED: how often it was '
  'declined before. Refuses with LG002 (credited to another account or key, unless match_payment '
  'said so), 22003, 22023 and 22004.';

revoke all on function pgledger.record_payment(
  text, text, pgledger.payment_status, text, text, bigint, bigint, text, bigint, text, text,
  timestamptz, bigint) from public;
