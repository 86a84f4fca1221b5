-- Lists without locks, then settles each account by itself and skips those that somebody works on:
-- whoever does settles them. So it waits for nobody, and several can run at once.
create or replace function pgledger.run_due(limit_count bigint default 100) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_left bigint := pgledger._checked_limit(run_due.limit_count);
  v_now timestamptz := clock_timestamp();
  v_due record;
  v_hot pgledger.balances;
begin
  for v_due in
    select p.account_id
    from pgledger.pending_transactions p
    where p.status = 'PENDING' and p.expires_at <= v_now
    group by p.account_id
    order by p.account_id collate "C"
  loop
    exit when v_left = 0;
    select b.* into v_hot
    from pgledger.balances b
    where b.account_id = v_due.account_id
    for update skip locked;
    if not found and not exists (
      select from pgledger.balances b where b.account_id = v_due.account_id)
    then
      v_hot := pgledger._lock_balance(v_due.account_id);
    elsif not found then
      continue;
    end if;
    continue when v_hot.attention_at > v_now;

    perform pgledger._settle_due(v_hot);
    v_left := v_left - 1;
  end loop;

  return run_due.limit_count - v_left;
end;
$$;

comment on function pgledger.run_due(bigint) is
  'Closes expired holds across accounts, up to limit_count accounts (1 to 10000) and 100 holds of '
  'each; returns how many accounts it settled, 0 when nothing is left that nobody else works on. '
  'Only housekeeping: an expired hold reserves nothing anyway. May run any number of times, '
  'several at once. Refuses with 22023 and 22004.';

revoke all on function pgledger.run_due(bigint) from public;
