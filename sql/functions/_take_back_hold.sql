create or replace function pgledger._take_back_hold(account_id text, amount bigint) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_attention_at timestamptz := pgledger._attention_at(_take_back_hold.account_id);
begin
  update pgledger.balances b
  set held = b.held - _take_back_hold.amount, pending_rows = b.pending_rows - 1,
      attention_at = v_attention_at,
      held_in_lots = b.held_in_lots
        - case when b.head_lot is null then 0 else _take_back_hold.amount end,
      head_left = b.head_left + _take_back_hold.amount
  where b.account_id = _take_back_hold.account_id;
end;
$$;

comment on function pgledger._take_back_hold(text, bigint) is
  'Takes back what the fast path of a hold added to a balance row that it still has locked. '
  'Private.';

revoke all on function pgledger._take_back_hold(text, bigint) from public;
