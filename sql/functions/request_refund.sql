create or replace function pgledger.request_refund(
  account_id text,
  original_key text,
  amount bigint default null,
  key text default null,
  reason text default null,
  tolerance bigint default null,
  actor text default null
) returns pgledger.refund_requests
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_key text collate "default" := request_refund.original_key;
  v_request pgledger._request;
  v_hot pgledger.balances;
  v_asked pgledger.refund_requests;
begin
  v_request := pgledger._asked(
    request_refund.account_id, request_refund.amount, 'REFUND', request_refund.key, 'FORCE', null,
    null, true, null);
  perform pgledger._check_refund_request(
    v_request, v_key, request_refund.reason, request_refund.tolerance,
    request_refund.actor collate "default");

  if request_refund.tolerance is not null then
    perform pgledger._lock_paid(v_request.account_id, t.seq)
    from pgledger.transactions t
    where t.account_id = v_request.account_id
      and (t.key = v_key or t.seq = pgledger._seq_of(v_key));
  end if;
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_request.account_id));
  v_asked := pgledger._replay_refund_request(v_request, v_key, v_hot);
  if v_asked.key is not null then
    return v_asked;
  end if;

  v_asked.original_seq := pgledger._judge_refund_request(v_request, v_key, v_hot);
  insert into pgledger.refund_requests
    (account_id, key, original_seq, amount, reason, requested_by, created_at)
  values (
    v_request.account_id, coalesce(v_request.key, '#' || gen_random_uuid()), v_asked.original_seq,
    coalesce(
      v_request.amount, pgledger._original_left(v_request.account_id, v_asked.original_seq)),
    request_refund.reason, coalesce(request_refund.actor, session_user), v_hot.updated_at)
  returning * into strict v_asked;

  if pgledger._is_unspent(v_asked, v_hot, request_refund.tolerance) then
    v_asked := pgledger._approve_refund(v_asked, 'policy', v_asked.requested_by);
    perform pgledger._audit(
      v_asked.account_id, 'request_refund', v_asked.requested_by,
      jsonb_build_object(
        'original_key', v_key, 'amount', v_asked.amount, 'key', v_asked.key,
        'tolerance', request_refund.tolerance));
  end if;
  return v_asked;
end;
$$;

comment on function pgledger.request_refund(text, text, bigint, text, text, bigint, text) is
  'Asks that the money of a TOP_UP be given back: of amount > 0 of its credits, minor units, or of '
  'all that is left of it. Moves nothing, until approve_refund takes the credits. With a tolerance '
  'it is approved at once where all but so many of them are not spent: the credits are available, '
  'or yet in their lot where they formed one; never on a frozen account, nor while the payment is '
  'disputed. key becomes that of the REFUND, #<uuid> when not given. One top-up has one open '
  'request: another is LG002 with its key in the detail. reason: 1 to 1000 characters, in the '
  'payer''s words. actor is who asks; what was approved at once is kept in the audit log. A repeat '
  'of the key changes nothing and answers with the request as it is now. Refuses with LG002, LG004 '
  '(closed), LG006, LG009, 22023 (not a TOP_UP) and 22004.';

revoke all on function
  pgledger.request_refund(text, text, bigint, text, text, bigint, text) from public;
