create or replace function pgledger._clear_plan(account_id text) returns void
language plpgsql
as $$
begin
  delete from pgledger.account_plans p
  where p.account_id = _clear_plan.account_id;
end;
$$;

comment on function pgledger._clear_plan(text) is
  'Takes an account off its plan, under the lock of its balance row. Private.';

revoke all on function pgledger._clear_plan(text) from public;
