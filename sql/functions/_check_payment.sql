create or replace function pgledger._check_payment(told pgledger.payments, attempt bigint)
returns void
language plpgsql
as $$
begin
  perform pgledger._checked_provider(told.provider);
  perform pgledger._checked_provider_id('payment_id', told.payment_id);
  if told.status is null then
    perform pgledger._reject('status', null, 'One of PROCESSING, FAILED, SUCCEEDED.');
  end if;
  if told.account_id is not null then
    perform pgledger._checked_account(told.account_id);
  end if;
  perform pgledger._check_labels(told.key, null, null, null);
  if told.amount <= 0 then
    perform pgledger._reject('amount', told.amount::text,
      'The credits that were bought: a positive whole number of minor units, or none.');
  end if;
  if told.paid < 0 then
    perform pgledger._reject('paid', told.paid::text,
      'What was paid, in the smallest unit of its currency: 0 or more.');
  end if;
  if told.paid_currency !~ '^[a-z0-9]{3,10}$' then
    perform pgledger._reject('currency', told.paid_currency, 'A code such as usd.');
  end if;
  if told.refunded < 0 then
    perform pgledger._reject('refunded', told.refunded::text,
      'What was refunded in all, in the smallest unit of the currency: 0 or more.');
  end if;
  perform pgledger._check_reason(told.reason);
  if not isfinite(told.occurred_at) then
    perform pgledger._reject('occurred_at', told.occurred_at::text,
      'Give a finite point in time, or none.');
  end if;
  if _check_payment.attempt < 0 then
    perform pgledger._reject('attempt', _check_payment.attempt::text,
      'How often the auto-top-up was declined before: 0 or more.');
  end if;
end;
$$;

comment on function pgledger._check_payment(pgledger.payments, bigint) is
  'Refuses (22023, 22004) what can be told of no payment, before anything is locked. Private.';

revoke all on function pgledger._check_payment(pgledger.payments, bigint) from public;
