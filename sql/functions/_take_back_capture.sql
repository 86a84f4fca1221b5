create or replace function pgledger._take_back_capture(
  account_id text, amount bigint, held bigint, lot bigint, counts boolean
) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_pool bigint :=
    case when _take_back_capture.lot is null then _take_back_capture.amount else 0 end;
  v_in_lots bigint :=
    case when _take_back_capture.lot is null then 0 else _take_back_capture.held end;
  v_cap bigint := case when _take_back_capture.counts then _take_back_capture.amount else 0 end;
begin
  update pgledger.balances b
  set balance = b.balance - _take_back_capture.amount, seq = b.seq - 1,
      held = b.held + _take_back_capture.held,
      pool = b.pool - v_pool,
      held_in_lots = b.held_in_lots + v_in_lots,
      head_left = b.head_left - (_take_back_capture.held + _take_back_capture.amount),
      cap_left = b.cap_left - v_cap
  where b.account_id = _take_back_capture.account_id;
end;
$$;

comment on function pgledger._take_back_capture(text, bigint, bigint, bigint, boolean) is
  'Takes back what the fast path of a capture changed in a balance row that it still has '
  'locked: an amount below 0, of what was held in a lot or, null, in the pool; counts says '
  'whether under the spending cap. Private.';

revoke all on function
  pgledger._take_back_capture(text, bigint, bigint, bigint, boolean) from public;
