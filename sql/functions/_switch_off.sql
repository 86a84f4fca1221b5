create or replace function pgledger._switch_off(account_id text) returns void
language plpgsql
as $$
#variable_conflict use_column
begin
  update pgledger.auto_top_ups s
  set enabled = false
  where s.account_id = _switch_off.account_id;

  update pgledger.balances b
  set top_up_below = null
  where b.account_id = _switch_off.account_id;
end;
$$;

comment on function pgledger._switch_off(text) is
  'Switches an auto-top-up off until somebody sets it again. Private.';

revoke all on function pgledger._switch_off(text) from public;
