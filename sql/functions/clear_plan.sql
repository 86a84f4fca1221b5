create or replace function pgledger.clear_plan(
  account_id text,
  expire_allowance boolean default false,
  actor text default null
) returns setof pgledger.account_plans
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account pgledger.accounts;
begin
  if clear_plan.expire_allowance is null then
    perform pgledger._reject('expire_allowance', null, 'true or false.');
  end if;

  v_account := pgledger._lock_account(clear_plan.account_id collate "default");
  return query
    select p.*
    from pgledger.account_plans p
    where p.account_id = v_account.account_id;

  if clear_plan.expire_allowance then
    perform pgledger._expire_allowance(
      pgledger._settle_due(pgledger._lock_balance(v_account.account_id)));
  end if;
  perform pgledger._clear_plan(v_account.account_id);
  perform pgledger._audit(
    v_account.account_id, 'clear_plan', clear_plan.actor collate "default",
    jsonb_build_object('expire_allowance', clear_plan.expire_allowance));
end;
$$;

comment on function pgledger.clear_plan(text, boolean, text) is
  'Takes an account off its plan, after what is due was granted, and answers with what it was on; '
  'no row when on none. What was granted stays, unless expire_allowance => true lets what remains '
  'of the current allowance of a RESET plan expire now. A repeat changes nothing. Kept in the '
  'audit log, as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.clear_plan(text, boolean, text) from public;
