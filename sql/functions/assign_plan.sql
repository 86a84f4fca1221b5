create or replace function pgledger.assign_plan(
  account_id text,
  plan text,
  starts_at timestamptz default null,
  at_once boolean default false,
  expire_allowance boolean default false,
  actor text default null
) returns pgledger.account_plans
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
  v_account pgledger.accounts;
  v_hot pgledger.balances;
  v_on pgledger.account_plans;
begin
  v_request.account_id := pgledger._checked_account(assign_plan.account_id);
  perform pgledger._check_assignment(
    assign_plan.plan, assign_plan.starts_at, assign_plan.at_once, assign_plan.expire_allowance);

  v_account := pgledger._lock_account(v_request.account_id);
  if v_account.status = 'CLOSED' then
    perform pgledger._refuse(v_request, v_hot, 'LG004',
      jsonb_build_object('status', v_account.status));
  end if;

  select p.* into v_on
  from pgledger.account_plans p
  where p.account_id = v_account.account_id;
  if v_on.plan <> assign_plan.plan collate "default" and assign_plan.starts_at is not null
    or v_on.starts_at <> assign_plan.starts_at
  then
    perform pgledger._reject('starts_at', assign_plan.starts_at::text,
      'The account is on a plan: another begins with its next refill, or at_once.');
  end if;

  -- The old allowance ends and the new one begins at one instant.
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_account.account_id));
  if assign_plan.expire_allowance and v_on.plan <> assign_plan.plan collate "default" then
    v_hot := pgledger._expire_allowance(v_hot);
  end if;
  perform pgledger._store_plan(
    v_account.account_id, assign_plan.plan collate "default", assign_plan.starts_at,
    assign_plan.at_once, v_hot.updated_at);
  v_hot.attention_at := v_hot.updated_at;
  perform pgledger._settle_due(v_hot);

  select p.* into strict v_on
  from pgledger.account_plans p
  where p.account_id = v_account.account_id;
  perform pgledger._audit(
    v_account.account_id, 'assign_plan', assign_plan.actor collate "default",
    jsonb_build_object(
      'plan', assign_plan.plan,
      'starts_at', assign_plan.starts_at,
      'at_once', assign_plan.at_once,
      'expire_allowance', assign_plan.expire_allowance));
  return v_on;
end;
$$;

comment on function pgledger.assign_plan(text, text, timestamptz, boolean, boolean, text) is
  'Puts an account on a plan, grants what that makes due now, and answers with the assignment. On '
  'no plan yet it begins at starts_at (default: now); one in the past only says where the periods '
  'of an ACCOUNT plan are counted from, and grants the period that holds now; one in the future '
  'waits. Another plan takes over with the next refill, or now with at_once => true, where '
  'expire_allowance => true lets what remains of a RESET allowance expire. The plan it is on '
  'already changes nothing but drops a change that waits. A period is granted once per plan, '
  'however often the account comes back to it. Kept in the audit log, as done by actor. Refuses '
  'with LG003, LG004 (closed), 22023 (no such plan, starts_at of an account on a plan) and 22004.';

revoke all on function
  pgledger.assign_plan(text, text, timestamptz, boolean, boolean, text) from public;
