create or replace function pgledger.post_batch(
  account_ids text[],
  amounts bigint[],
  types pgledger.transaction_type[],
  keys text[] default null,
  reference_ids text[] default null,
  metadata jsonb[] default null,
  shortfalls text[] default null,
  external_ids text[] default null,
  ceiling_balances bigint[] default null,
  expires_at timestamptz[] default null,
  priorities integer[] default null,
  codes text[] default null,
  quantities jsonb[] default null,
  atomic boolean default false
) returns setof pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_items integer := cardinality(post_batch.account_ids);
  v_requests pgledger._request[];
  v_answers pgledger.posting[];
begin
  if post_batch.atomic is null then
    perform pgledger._reject('atomic', null, 'true posts all or nothing, false each on its own.');
  end if;
  perform pgledger._check_array('account_ids', post_batch.account_ids, v_items, true);
  perform pgledger._check_array(
    'amounts', post_batch.amounts, v_items, post_batch.codes is null);
  perform pgledger._check_array('types', post_batch.types, v_items, true);
  perform pgledger._check_array('keys', post_batch.keys, v_items, false);
  perform pgledger._check_array('reference_ids', post_batch.reference_ids, v_items, false);
  perform pgledger._check_array('metadata', post_batch.metadata, v_items, false);
  perform pgledger._check_array('shortfalls', post_batch.shortfalls, v_items, false);
  perform pgledger._check_array('external_ids', post_batch.external_ids, v_items, false);
  perform pgledger._check_array('ceiling_balances', post_batch.ceiling_balances, v_items, false);
  perform pgledger._check_array('expires_at', post_batch.expires_at, v_items, false);
  perform pgledger._check_array('priorities', post_batch.priorities, v_items, false);
  perform pgledger._check_array('codes', post_batch.codes, v_items, false);
  perform pgledger._check_array('quantities', post_batch.quantities, v_items, false);

  v_requests := array(
    select row(
      i.account_id, i.amount, i.type, i.key, false, i.ceiling_balance,
      coalesce(i.shortfall, 'REFUSE'), i.reference, i.external_id, i.metadata, false, null, null,
      null, null, null, i.expires_at, i.priority, null,
      case when i.code is not null or i.quantities is not null
        then jsonb_build_object('code', i.code, 'quantities', i.quantities) end)
      ::pgledger._request
    from unnest(
      post_batch.account_ids, post_batch.amounts, post_batch.types, post_batch.keys,
      post_batch.reference_ids, post_batch.metadata, post_batch.shortfalls,
      post_batch.external_ids, post_batch.ceiling_balances, post_batch.expires_at,
      post_batch.priorities, post_batch.codes, post_batch.quantities
    ) with ordinality i (
      account_id, amount, type, key, reference, metadata, shortfall, external_id,
      ceiling_balance, expires_at, priority, code, quantities, place)
    order by i.place);
  if post_batch.codes is not null then
    v_requests := pgledger._price_all(v_requests);
  end if;
  v_answers := pgledger._post_all(v_requests, post_batch.account_ids collate "default");
  if post_batch.atomic then
    perform pgledger._raise_first(v_answers);
  end if;
  return query select a.* from unnest(v_answers) a;
end;
$$;

comment on function pgledger.post_batch(
  text[], bigint[], pgledger.transaction_type[], text[], text[], jsonb[], text[], text[], bigint[],
  timestamptz[], integer[], text[], jsonb[], boolean) is
  'Posts many movements at once, on any accounts: the arrays have one element per item, the answer '
  'one row per item, in their order. Amounts are signed, in minor units: a spend is below 0, of '
  'type USAGE, and what is above 0 is a credit whatever its type. Items take effect in their order '
  'as if add_transaction, or spend with its shortfall (REFUSE, PARTIAL, DEBT, or FORCE for '
  'fail_insufficient_credits => false), had been called for one after the other; with a code and '
  'quantities instead of an amount, which is null then, as if spend_usage had. Each is accepted, '
  'replayed by its key, or answered as REFUSED with its code in refusal, misuse (22023, 22004, '
  '22003) too. With atomic the first refusal is raised, DETAIL naming its item from 1 on, and '
  'nothing is posted. A null array, or element, is the default; amounts may be null where there '
  'are codes. Balance rows stay locked until the transaction ends: 1,000 items is a good size. A '
  'repeat of the batch changes nothing for items with a key. Refuses as a whole with 22023 and '
  '22004 for arrays that do not go together.';

revoke all on function pgledger.post_batch(
  text[], bigint[], pgledger.transaction_type[], text[], text[], jsonb[], text[], text[], bigint[],
  timestamptz[], integer[], text[], jsonb[], boolean) from public;
