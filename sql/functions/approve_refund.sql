create or replace function pgledger.approve_refund(
  account_id text,
  key text,
  reason text default null,
  actor text default null
) returns pgledger.refund_requests
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_asked pgledger.refund_requests;
begin
  perform pgledger._check_reason(approve_refund.reason);
  perform pgledger._check_label('actor', approve_refund.actor collate "default");
  v_asked := pgledger._lock_refund_request(
    approve_refund.account_id collate "default", approve_refund.key collate "default");
  if v_asked.status = 'APPROVED' then
    return v_asked;
  elsif v_asked.status = 'REJECTED' then
    perform pgledger._refuse_decided(v_asked);
  end if;

  v_asked := pgledger._approve_refund(
    v_asked, approve_refund.reason, coalesce(approve_refund.actor, session_user));
  perform pgledger._audit(
    v_asked.account_id, 'approve_refund', approve_refund.actor collate "default",
    jsonb_build_object('key', v_asked.key, 'reason', approve_refund.reason));
  return v_asked;
end;
$$;

comment on function pgledger.approve_refund(text, text, text, text) is
  'Approves an open refund request: takes its credits by a REFUND of the top-up under the same '
  'key, and has a worker give the money back where the top-up has a payment. What was asked for is '
  'taken whether or not it is there yet, so an approval may leave a debt; where refunds and '
  'disputes have left less of the top-up it is LG009, and the request stays open. reason: 1 to '
  '1000 characters. A repeat changes nothing and answers with the request as it is now; LG007 once '
  'it is rejected. Kept in the audit log, as done by actor. Refuses with LG002 (something else was '
  'posted under its key), LG004 (closed), LG006, LG007, LG009, 22003, 22023 and 22004.';

revoke all on function pgledger.approve_refund(text, text, text, text) from public;
