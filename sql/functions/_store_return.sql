-- What is known of a refund or a dispute is the greatest that was told of it, in an order in which
-- no two facts are equal: so it does not matter which of them came first, or how often.
create or replace function pgledger._store_return(given pgledger.payment_returns)
returns boolean
language plpgsql
as $$
#variable_conflict use_column
declare
  v_known pgledger.payment_returns;
  v_is_new boolean;
  v_now timestamptz := clock_timestamp();
begin
  insert into pgledger.payment_returns (
    provider, return_id, payment_id, kind, amount, status, policy, request_key, occurred_at,
    created_at, updated_at)
  values (
    given.provider, given.return_id, given.payment_id, given.kind, given.amount, given.status,
    given.policy, given.request_key, given.occurred_at, v_now, v_now)
  on conflict (provider, return_id) do nothing;
  v_is_new := found;

  select r.* into strict v_known
  from pgledger.payment_returns r
  where r.provider = given.provider and r.return_id = given.return_id;
  if v_known.payment_id <> given.payment_id or v_known.kind <> given.kind then
    perform pgledger._refuse(null, null, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object('payment_id', v_known.payment_id, 'kind', v_known.kind),
      'given', jsonb_build_object('payment_id', given.payment_id, 'kind', given.kind)));
  end if;

  update pgledger.payment_returns r
  set amount = given.amount, status = given.status, policy = given.policy,
      occurred_at = given.occurred_at, updated_at = v_now
  where r.provider = given.provider and r.return_id = given.return_id
    and row(coalesce(given.occurred_at, '-infinity'), given.status, given.amount, given.policy)
      > row(coalesce(r.occurred_at, '-infinity'), r.status, r.amount, r.policy);
  update pgledger.payment_returns r
  set request_key = given.request_key, updated_at = v_now
  where r.provider = given.provider and r.return_id = given.return_id
    and r.request_key is null and given.request_key is not null;
  return v_is_new;
end;
$$;

comment on function pgledger._store_return(pgledger.payment_returns) is
  'Keeps what was told of a refund or a dispute, if it is later than what is known; whether it is '
  'the first that is. LG002 where the id is that of another payment''s, or of another kind. Only '
  'under the lock of the payment. Private.';

revoke all on function pgledger._store_return(pgledger.payment_returns) from public;
