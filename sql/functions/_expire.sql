create or replace function pgledger._expire(hot pgledger.balances, lot bigint, amount bigint)
returns pgledger.balances
language plpgsql
as $$
#variable_conflict use_column
declare
  v_hot pgledger.balances := hot;
  v_request pgledger._request;
begin
  update pgledger.lots l
  set remaining = l.remaining - _expire.amount, expired = l.expired + _expire.amount
  where l.account_id = hot.account_id and l.seq = _expire.lot;

  v_request.account_id := hot.account_id;
  v_request.type := 'EXPIRY';
  v_request.amount := -_expire.amount;
  v_request.original_seq := _expire.lot;
  v_hot.balance := hot.balance - _expire.amount;
  v_hot.seq := hot.seq + 1;
  perform pgledger._record(v_request, v_hot, -_expire.amount,
    row(array[_expire.lot], array[_expire.amount], 0, 0, null)::pgledger._sources);
  return v_hot;
end;
$$;

comment on function pgledger._expire(pgledger.balances, bigint, bigint) is
  'Posts the expiry of an amount of a lot, at hot.updated_at; the balance row after it, which '
  'the caller writes. Private.';

revoke all on function pgledger._expire(pgledger.balances, bigint, bigint) from public;
