create or replace function pgledger._refuse_settled(
  request pgledger._request, hot pgledger.balances
) returns pgledger.posting
language plpgsql
as $$
declare
  v_status text;
begin
  select t.status into v_status
  from pgledger.get_transaction(request.account_id, request.key) t;

  if v_status is null then
    return pgledger._refuse(request, hot, 'LG006', '{}');
  end if;
  -- The reader goes by the clock of the statement: what it still sees pending expired while this
  -- call waited for its lock.
  return pgledger._refuse(request, hot, 'LG007', jsonb_build_object(
    'status', case v_status when 'PENDING' then 'EXPIRED' else v_status end));
end;
$$;

comment on function pgledger._refuse_settled(pgledger._request, pgledger.balances) is
  'Refuses to settle what is not pending: LG006 when there is no such key, LG007 with its status '
  'when there is. Private.';

revoke all on function pgledger._refuse_settled(pgledger._request, pgledger.balances) from public;
