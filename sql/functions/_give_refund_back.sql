create or replace function pgledger._give_refund_back(asked pgledger.refund_requests)
returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := pgledger._lock_balance(asked.account_id);
  v_request pgledger._request;
  v_left bigint := pgledger._original_left(asked.account_id, asked.seq);
begin
  -- Nothing goes to a closed account; its balance must stay 0.
  if v_left > 0 and exists (
    select from pgledger.accounts a
    where a.account_id = asked.account_id and a.status <> 'CLOSED')
  then
    v_request := pgledger._asked(
      asked.account_id, v_left, 'REVERSAL', '#back-' || asked.seq, 'FORCE', null, null, true, null);
    v_request.original_seq := asked.seq;
    perform pgledger._post_locked(v_request, v_hot);
  end if;
end;
$$;

comment on function pgledger._give_refund_back(pgledger.refund_requests) is
  'Gives back the credits that an approved refund took, since its money cannot be given back, to '
  'where they came from. Only under the locks of the payment and the balance row. Private.';

revoke all on function pgledger._give_refund_back(pgledger.refund_requests) from public;
