create or replace function pgledger._rearm(account_id text, key text) returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_armed_below bigint;
begin
  if left(_rearm.key, 6) <> '#auto-' then
    return;
  end if;

  update pgledger.charges c
  set due_at = null
  where c.account_id = _rearm.account_id and c.key = _rearm.key and c.due_at is not null;

  update pgledger.auto_top_ups s
  set waiting_for = null
  where s.account_id = _rearm.account_id and s.waiting_for = _rearm.key;

  if found then
    v_armed_below := pgledger._armed_below(_rearm.account_id);
    update pgledger.balances b
    set top_up_below = v_armed_below
    where b.account_id = _rearm.account_id;
  end if;
end;
$$;

comment on function pgledger._rearm(text, text) is
  'When an intent of an auto-top-up was enabled or cancelled: nobody charges it any more, and the '
  'auto-top-up that waited for it is armed again. Private.';

revoke all on function pgledger._rearm(text, text) from public;
