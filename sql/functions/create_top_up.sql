create or replace function pgledger.create_top_up(
  account_id text,
  amount bigint,
  key text default null,
  price bigint default null,
  price_currency text default null,
  reference text default null,
  metadata jsonb default null,
  expires_at timestamptz default null,
  priority integer default 0
) returns pgledger.charge
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_posting pgledger.posting;
  v_pending pgledger.pending_transactions;
  v_answer pgledger.charge;
begin
  if not coalesce(create_top_up.amount > 0, false) then
    perform pgledger._reject('amount', create_top_up.amount::text,
      'A top-up is a positive whole number of minor units.');
  end if;
  if create_top_up.priority is null then
    perform pgledger._reject('priority', null, 'A whole number; the pool''s priority is 0.');
  end if;
  v_request := pgledger._asked(
    create_top_up.account_id collate "default", create_top_up.amount, 'TOP_UP', create_top_up.key,
    'REFUSE', create_top_up.reference,
    pgledger._with_price(create_top_up.metadata, create_top_up.price,
      create_top_up.price_currency collate "default"), true, null);
  v_request.announced := true;
  v_request.credits_expire_at := create_top_up.expires_at;
  v_request.priority := create_top_up.priority;
  perform pgledger._check_request(v_request);

  v_hot := pgledger._lock_balance(v_request.account_id);
  -- A repeat asks for nothing: the limits, which count the first, are not judged again.
  v_posting := pgledger._replay(v_request, v_hot);
  if v_posting.status is null then
    perform pgledger._judge_top_up(v_request, v_hot);
    v_posting := pgledger._post_locked(v_request, v_hot);
  end if;

  select p.* into strict v_pending
  from pgledger.pending_transactions p
  where p.account_id = v_request.account_id and p.key = v_posting.key;
  perform pgledger._same_price(v_request, v_pending, v_hot);

  v_answer := pgledger._as_charge(v_pending, null, v_posting.replayed);
  v_answer.price := create_top_up.price;
  v_answer.price_currency := create_top_up.price_currency;
  return v_answer;
end;
$$;

comment on function pgledger.create_top_up(
  text, bigint, text, bigint, text, text, jsonb, timestamptz, integer) is
  'Announces a top-up that somebody is about to pay: amount > 0 credits, minor units, for price '
  'in the smallest unit of price_currency, which are kept in its metadata. Commit, then ask the '
  'provider for a checkout under the answer''s idempotency_key, with the key as its reference; '
  'record_payment or enable_transaction makes it effective when it is paid, cancel_transaction '
  'drops it. Within the limits of set_top_up_limits, which are judged once. expires_at and '
  'priority are those of the credits. A repeat of the key changes nothing and answers with the '
  'first, at whatever status it is; another price is LG002. Refuses with LG002, LG004 (closed), '
  'LG012, 22003, 22023 and 22004.';

revoke all on function pgledger.create_top_up(
  text, bigint, text, bigint, text, text, jsonb, timestamptz, integer) from public;
