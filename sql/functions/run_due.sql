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
    select d.account_id
    from (
      select p.account_id
      from pgledger.pending_transactions p
      where p.status = 'PENDING' and p.expires_at <= v_now
      union
      select l.account_id
      from pgledger.lots l
      where l.remaining > 0 and l.expires_at < 'infinity' and l.expires_at <= v_now
      union
      select n.account_id
      from pgledger.account_plans n
      where n.refill_at <= v_now
    ) d
    order by d.account_id collate "C"
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
    v_hot.updated_at := greatest(v_hot.updated_at, v_now);
    continue when v_hot.attention_at > v_hot.updated_at;

    perform pgledger._settle_due(v_hot);
    v_left := v_left - 1;
  end loop;

  return run_due.limit_count - v_left;
end;
$$;

comment on function pgledger.run_due(bigint) is
  'Posts what fell due across accounts: closes expired holds, expires lots and refills, up to '
  'limit_count accounts (1 to 10000), and 100 holds of each where they are in no lot; returns '
  'how many accounts it settled, 0 when nothing is left that nobody else works on. Only '
  'housekeeping: what is due counts anyway, and the next write posts it. May run any number of '
  'times, several at once. Refuses with 22023 and 22004.';

revoke all on function pgledger.run_due(bigint) from public;
