create or replace function pgledger._check_return(given pgledger.payment_returns, parameter text)
returns void
language plpgsql
as $$
begin
  perform pgledger._checked_provider(given.provider);
  perform pgledger._checked_provider_id(_check_return.parameter, given.return_id);
  perform pgledger._checked_provider_id('payment_id', given.payment_id);
  perform pgledger._check_label('request_key', given.request_key);

  if given.return_id = given.payment_id then
    perform pgledger._reject(_check_return.parameter, given.return_id,
      'Give the id of the refund or dispute, not that of its payment.');
  end if;
  if not coalesce(given.amount >= 0, false) then
    perform pgledger._reject('amount', given.amount::text,
      'Money is a whole number of the smallest unit of its currency, not negative.');
  end if;
  if not coalesce(
    (given.status in ('PENDING', 'SUCCEEDED', 'FAILED')) = (given.kind = 'REFUND'), false)
  then
    perform pgledger._reject('status', given.status::text,
      'A refund is PENDING, SUCCEEDED or FAILED; a dispute is OPEN, LOST or WON.');
  end if;
  if given.kind = 'DISPUTE' and given.policy is null then
    perform pgledger._reject('policy', null, 'One of FLAG, FREEZE, DEDUCT.');
  end if;
  if not isfinite(given.occurred_at) then
    perform pgledger._reject('occurred_at', given.occurred_at::text,
      'Give a finite point in time, or none where it is not known.');
  end if;
end;
$$;

comment on function pgledger._check_return(pgledger.payment_returns, text) is
  'Refuses (22023, 22004) what cannot be a refund or a dispute, before anything is locked; its id '
  'is refused as the parameter that gave it. Private.';

revoke all on function pgledger._check_return(pgledger.payment_returns, text) from public;
