-- Everybody locks several accounts in this order, so nobody waits in a circle: the sort comes
-- before the first lock. A row that is missing is made where its turn comes, so then they go one by
-- one. No plan but by index: one made while the table was small would be kept.
create or replace function pgledger._lock_balances(
  account_ids text[], out hots pgledger.balances[], out places tid[], out missing text[]
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_wanted text[] := array(
    select distinct u.account_id
    from unnest(_lock_balances.account_ids) u (account_id)
    where u.account_id is not null);
  v_account_id text;
begin
  missing := '{}';
  if cardinality(v_wanted) > (
    select count(*) from pgledger.balances b where b.account_id = any (v_wanted))
  then
    missing := array(
      select u.account_id
      from unnest(v_wanted) u (account_id)
      where not exists (select from pgledger.balances b where b.account_id = u.account_id));
    for v_account_id in
      select u.account_id
      from unnest(v_wanted) u (account_id)
      where pgledger._is_label(u.account_id)
      order by u.account_id collate "C"
    loop
      perform pgledger._lock_balance(v_account_id);
    end loop;
  end if;

  select array_agg(l.hot), array_agg(l.place) into hots, places
  from (
    select b as hot, b.ctid as place
    from pgledger.balances b
    where b.account_id = any (v_wanted)
    order by b.account_id collate "C"
    for update
  ) l;
end;
$$;

comment on function pgledger._lock_balances(text[]) is
  'Locks the balance rows of several accounts, in collate "C" order, making those that are '
  'missing: the rows, where they are, and which accounts had none. What can be no account id is '
  'passed over. Private.';

revoke all on function pgledger._lock_balances(text[]) from public;
