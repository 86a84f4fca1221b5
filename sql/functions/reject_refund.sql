create or replace function pgledger.reject_refund(
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
  v_now timestamptz;
begin
  perform pgledger._check_reason(reject_refund.reason);
  perform pgledger._check_label('actor', reject_refund.actor collate "default");
  v_asked := pgledger._lock_refund_request(
    reject_refund.account_id collate "default", reject_refund.key collate "default");
  if v_asked.status = 'REJECTED' then
    return v_asked;
  elsif v_asked.status = 'APPROVED' then
    perform pgledger._refuse_decided(v_asked);
  end if;

  v_now := clock_timestamp();
  update pgledger.refund_requests q
  set status = 'REJECTED', decision = reject_refund.reason,
      decided_by = coalesce(reject_refund.actor, session_user), decided_at = v_now
  where q.account_id = v_asked.account_id and q.key = v_asked.key
  returning q.* into strict v_asked;
  perform pgledger._audit(
    v_asked.account_id, 'reject_refund', reject_refund.actor collate "default",
    jsonb_build_object('key', v_asked.key, 'reason', reject_refund.reason));
  return v_asked;
end;
$$;

comment on function pgledger.reject_refund(text, text, text, text) is
  'Rejects an open refund request; nothing was taken, and nothing is. reason: 1 to 1000 '
  'characters. A repeat changes nothing and answers with the request as it is now; LG007 once it '
  'is approved. Kept in the audit log, as done by actor. Refuses with LG006, LG007, 22023 and '
  '22004.';

revoke all on function pgledger.reject_refund(text, text, text, text) from public;
