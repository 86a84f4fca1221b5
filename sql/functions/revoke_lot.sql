create or replace function pgledger.revoke_lot(
  account_id text,
  key text,
  reason text default null,
  raise_refusals boolean default true,
  actor text default null
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_lot pgledger.lots;
  v_posted pgledger.transactions;
  v_code text;
  v_detail jsonb;
begin
  v_request := pgledger._settlement(
    revoke_lot.account_id, revoke_lot.key, revoke_lot.raise_refusals);
  perform pgledger._check_reason(revoke_lot.reason);
  v_request.type := 'REVERSAL';
  v_request.shortfall := 'FORCE';
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_request.account_id));
  v_lot := pgledger._lot_of(v_request.account_id, v_request.key);
  if v_lot.seq is null then
    return pgledger._refuse(v_request, v_hot, 'LG006', '{}');
  end if;

  v_request.key := '#revoke-' || v_lot.seq;
  select t.* into v_posted
  from pgledger.transactions t
  where t.account_id = v_request.account_id and t.key = v_request.key;
  if found then
    return pgledger._as_posting(v_posted, null, v_hot, true);
  end if;
  if v_hot.head_lot = v_lot.seq then
    v_lot.remaining := v_hot.head_left;
  end if;
  v_request.amount := -greatest(v_lot.remaining, 1);
  select j.code, j.detail into v_code, v_detail from pgledger._judge(v_request, v_hot) j;
  if v_code is not null then
    return pgledger._refuse(v_request, v_hot, v_code, v_detail);
  elsif v_lot.remaining = 0 then
    return pgledger._refuse(v_request, v_hot, 'LG009', jsonb_build_object(
      'original', revoke_lot.key, 'remaining', 0, 'requested', 1));
  end if;

  -- What holds give back to it later, or reversals, is not to be spent either.
  update pgledger.lots l
  set expires_at = least(l.expires_at, v_hot.updated_at)
  where l.account_id = v_request.account_id and l.seq = v_lot.seq;
  v_request.original_seq := v_lot.seq;
  v_request.metadata := jsonb_strip_nulls(jsonb_build_object('reason', revoke_lot.reason));
  return pgledger._audited(
    pgledger._apply(v_request, v_hot, v_request.amount), 'revoke_lot',
    revoke_lot.actor collate "default",
    jsonb_build_object('key', revoke_lot.key, 'reason', revoke_lot.reason));
end;
$$;

comment on function pgledger.revoke_lot(text, text, text, boolean, text) is
  'Takes back all that is free in one lot, named by the key of the credit that made it, and ends '
  'the lot: what holds or reversals give back to it later expires at once. Posted as a REVERSAL of '
  'that credit under the key #revoke-<seq>, so it counts as undone for refund and '
  'reverse_transaction. reason: 1 to 1000 characters, kept in its metadata. A repeat changes '
  'nothing and answers with the original. Kept in the audit log, as done by actor. Refuses with '
  'LG004 (closed), LG006, LG009 (nothing free in it), 22023 (made no lot) and 22004.';

revoke all on function pgledger.revoke_lot(text, text, text, boolean, text) from public;
