-- Planned for what is asked, as in _payments_found().
create or replace function pgledger.list_refund_requests(
  status pgledger.refund_request_status default null,
  account_id text default null,
  limit_count bigint default 100,
  before_at timestamptz default null,
  before_account_id text default null,
  before_key text default null
) returns setof pgledger.refund_requests
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
  v_limit bigint := pgledger._checked_limit(list_refund_requests.limit_count);
  v_before_at timestamptz := coalesce(list_refund_requests.before_at, 'infinity');
  v_before_account text collate "default" := coalesce(list_refund_requests.before_account_id, '');
  v_before_key text collate "default" := coalesce(list_refund_requests.before_key, '');
  v_status pgledger.refund_request_status := list_refund_requests.status;
begin
  if list_refund_requests.account_id is null then
    return query
      select q.*
      from pgledger.refund_requests q
      where (v_status is null or q.status = v_status)
        and (q.created_at, q.account_id collate "C", q.key collate "C")
          < (v_before_at, v_before_account collate "C", v_before_key collate "C")
      order by q.created_at desc, q.account_id collate "C" desc, q.key collate "C" desc
      limit v_limit;
  else
    return query
      select q.*
      from pgledger.refund_requests q
      where q.account_id
          = pgledger._checked_account(list_refund_requests.account_id collate "default")
        and (v_status is null or q.status = v_status)
        and (q.created_at, q.account_id collate "C", q.key collate "C")
          < (v_before_at, v_before_account collate "C", v_before_key collate "C")
      order by q.created_at desc, q.key collate "C" desc
      limit v_limit;
  end if;
end;
$$;

comment on function pgledger.list_refund_requests(
  pgledger.refund_request_status, text, bigint, timestamptz, text, text) is
  'The refund requests of one account or of all, of one status or any, newest first, limit_count '
  'of them (1 to 10000). The next page is what came before created_at, account_id and key of the '
  'last row, given as before_at, before_account_id and before_key. result is what became of the '
  'money. Refuses with 22023 and 22004.';

revoke all on function pgledger.list_refund_requests(
  pgledger.refund_request_status, text, bigint, timestamptz, text, text) from public;
