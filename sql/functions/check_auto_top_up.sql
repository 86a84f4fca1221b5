create or replace function pgledger.check_auto_top_up(
  account_id text,
  reference text default null
) returns setof pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text collate "default" := pgledger._checked_account(check_auto_top_up.account_id);
  v_hot pgledger.balances;
  v_waiting pgledger.pending_transactions;
  v_answer pgledger.posting;
begin
  perform pgledger._check_labels(null, check_auto_top_up.reference, null, null);
  v_hot := pgledger._settle_due(pgledger._lock_balance(v_account));

  select p.* into v_waiting
  from pgledger.auto_top_ups s
  join pgledger.pending_transactions p on p.account_id = v_account and p.key = s.waiting_for
  where s.account_id = v_account;

  if found then
    return next pgledger._as_posting(null, v_waiting, v_hot, true);
  else
    v_answer := pgledger._auto_top_up(
      v_account, check_auto_top_up.reference collate "default", v_hot.updated_at);
    if v_answer.status is not null then
      return next v_answer;
    end if;
  end if;
  perform pgledger._forget_unopened(v_account);
end;
$$;

comment on function pgledger.check_auto_top_up(text, text) is
  'Tops an account up now, or asks for it, if its auto-top-up is armed and available is below the '
  'threshold; for an application to call after setting it, or after a refused spend, which '
  'records nothing. One row: the intent or the INSTANT top-up; the intent that waits already, '
  'replayed; no row when nothing is to be done. Refuses with 22023 and 22004.';

revoke all on function pgledger.check_auto_top_up(text, text) from public;
