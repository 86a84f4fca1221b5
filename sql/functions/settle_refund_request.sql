create or replace function pgledger.settle_refund_request(
  account_id text,
  key text,
  return_id text default null,
  result text default null
) returns pgledger.refund_requests
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_return text collate "default" := settle_refund_request.return_id;
  v_asked pgledger.refund_requests;
  v_settled pgledger.refund_requests;
begin
  perform pgledger._check_label('return_id', v_return);
  if coalesce(length(settle_refund_request.result) not between 1 and 1000, v_return is null) then
    perform pgledger._reject('result', settle_refund_request.result,
      'What became of it, in 1 to 1000 characters; without a return_id, why it cannot be made.');
  end if;
  v_asked := pgledger._lock_refund_request(
    settle_refund_request.account_id collate "default",
    settle_refund_request.key collate "default");

  if v_asked.status <> 'APPROVED' then
    perform pgledger._refuse_decided(v_asked);
  elsif v_asked.return_id <> v_return then
    perform pgledger._refuse(
      pgledger._settlement(v_asked.account_id, v_asked.key, true), null, 'LG002',
      jsonb_build_object('recorded', v_asked.return_id, 'given', v_return));
  -- What the provider has told of it since knows better.
  elsif v_asked.return_id is not null or (v_return is null and v_asked.result is not null) then
    return v_asked;
  end if;

  update pgledger.refund_requests q
  set return_id = v_return, result = settle_refund_request.result, due_at = null
  where q.account_id = v_asked.account_id and q.key = v_asked.key
  returning q.* into strict v_settled;
  if v_return is null then
    perform pgledger._give_refund_back(v_settled);
  end if;
  -- The provider may have told of this refund before whose it is was known; or have refused because
  -- the money had left another way, which takes the credits again.
  perform pgledger._settle_returns(p, v_return)
  from pgledger.payments p
  where p.provider = v_settled.provider and p.payment_id = v_settled.payment_id;
  return v_settled;
end;
$$;

comment on function pgledger.settle_refund_request(text, text, text, text) is
  'Tells what became of the money of an approved refund. With the provider''s return_id it is on '
  'its way, or was given back by hand: no worker is to do it any more. Without one the provider '
  'refuses it for good, and result says why: the credits go back to where they came from, unless '
  'the account is closed or the money has left in another way. Never to be called when the outcome '
  'is not known: then it is claimed again. A repeat changes nothing, nor does what comes after '
  'record_payment_refund told of it; another return_id is LG002. Refuses with LG002, LG006, LG007 '
  '(not approved), 22003, 22023 and 22004.';

revoke all on function pgledger.settle_refund_request(text, text, text, text) from public;
