create or replace function pgledger._take_back(account_id text, amount bigint) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  update pgledger.balances b
  set balance = b.balance - _take_back.amount, seq = b.seq - 1,
      pool = b.pool - case when b.head_lot is null then _take_back.amount else 0 end,
      head_left = b.head_left - _take_back.amount,
      cap_left = b.cap_left - least(_take_back.amount, 0)
  where b.account_id = _take_back.account_id;
end;
$$;

comment on function pgledger._take_back(text, bigint) is
  'Takes back what the fast path added to a balance row that it still has locked. Private.';

revoke all on function pgledger._take_back(text, bigint) from public;
