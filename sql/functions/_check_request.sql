create or replace function pgledger._check_request(request pgledger._request) returns void
language plpgsql
as $$
begin
  perform pgledger._checked_account(request.account_id);
  if request.usage ? 'quantities' then
    -- Of a batch, and not priced because it cannot be.
    if request.amount is not null then
      perform pgledger._reject('amount', request.amount::text,
        'The amount of usage is made of its quantities: give null.');
    end if;
    perform pgledger._check_usage(request.usage ->> 'code', request.usage -> 'quantities');
  end if;
  if request.usage is not null and request.type <> 'USAGE' then
    perform pgledger._reject('type', request.type::text, 'What was used is of the type USAGE.');
  end if;

  -- The lowest bigint has no positive twin, and a debit is judged by its positive amount.
  -- Usage may cost nothing, or have no price, which a repeat of it does not ask for.
  if request.usage is null
    and not coalesce(request.amount <> 0 and request.amount > -9223372036854775808, false)
  then
    perform pgledger._reject('amount', request.amount::text,
      'An amount is a whole number of minor units, not 0, within plus or minus 2^63 - 1.');
  end if;
  if request.type is null then
    perform pgledger._reject('type', null, 'Name a pgledger.transaction_type.');
  end if;
  if not coalesce(request.shortfall in ('REFUSE', 'PARTIAL', 'DEBT', 'FORCE'), false) then
    perform pgledger._reject('shortfall', request.shortfall,
      'One of REFUSE, PARTIAL, DEBT, FORCE.');
  end if;
  if request.announced is null then
    perform pgledger._reject('is_active', null, 'true posts at once, false announces.');
  end if;
  if request.announced and request.amount < 0 and request.shortfall = 'FORCE' then
    perform pgledger._reject('fail_insufficient_credits', 'false',
      'A hold reserves credits that are there; only a posted debit may go below the floor.');
  end if;
  if not isfinite(request.expires_at) then
    perform pgledger._reject('expires_at', request.expires_at::text,
      'Give a finite point in time, or none for a hold that stays until it is settled.');
  end if;
  if not isfinite(request.credits_expire_at) then
    perform pgledger._reject('expires_at', request.credits_expire_at::text,
      'Give a finite point in time, or none for credits that never expire.');
  end if;
  if request.amount < 0
    and (request.credits_expire_at is not null or coalesce(request.priority, 0) <> 0)
  then
    perform pgledger._reject(
      case when request.credits_expire_at is null then 'priority' else 'expires_at' end,
      coalesce(request.credits_expire_at::text, request.priority::text),
      'Only credits have a priority and expire; a debit draws from what is there.');
  end if;
  if left(request.key, 1) = '#' then
    perform pgledger._reject('key', request.key,
      'Keys that begin with # are the ledger''s own; choose another.');
  end if;

  perform pgledger._check_labels(
    request.key, request.reference, request.external_id, request.metadata);
end;
$$;

comment on function pgledger._check_request(pgledger._request) is
  'Refuses (22023, 22004) what could never be posted, before anything is locked. Private.';

revoke all on function pgledger._check_request(pgledger._request) from public;
