-- created_at never decreases with seq, so the last transaction up to an instant is found by
-- bisection over the primary key: about log2(n) index probes, and no index of its own.
create or replace function pgledger.balance_at(account_id text, at timestamptz) returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_account text collate "default" := pgledger._checked_account(balance_at.account_id);
  v_low bigint := 0::bigint;
  v_high bigint;
  v_middle bigint;
  v_found record;
  v_balance bigint := 0::bigint;
  v_hot pgledger.balances;
begin
  if not coalesce(isfinite(balance_at.at), false) then
    perform pgledger._reject('at', balance_at.at::text, 'Give a finite point in time.');
  end if;

  select max(t.seq) into v_high
  from pgledger.transactions t
  where t.account_id = v_account;

  -- All up to v_low is in time; all above v_high is not.
  while v_low < v_high loop
    v_middle := v_high - (v_high - v_low) / 2;
    -- At or below, not equal: the history of another system may have gaps.
    select t.seq, t.created_at, t.running_balance into v_found
    from pgledger.transactions t
    where t.account_id = v_account and t.seq <= v_middle
    order by t.seq desc
    limit 1;

    if v_found.created_at > balance_at.at then
      v_high := v_found.seq - 1;
    else
      -- In time, or nothing there: that history may also begin late.
      v_balance := coalesce(v_found.running_balance, v_balance);
      v_low := v_middle;
    end if;
  end loop;

  v_hot := pgledger._balance_row(v_account);
  -- What will be posted is what is due now, as of when it fell due.
  if v_hot.attention_at <= least(balance_at.at, statement_timestamp()) then
    select (v_balance + coalesce(sum(d.amount), 0))::bigint into v_balance
    from pgledger._due(v_hot, statement_timestamp()) d
    where d.due_at <= balance_at.at;
  end if;
  return v_balance;
end;
$$;

comment on function pgledger.balance_at(text, timestamptz) is
  'The balance right after the last transaction up to and including an instant, minor units, '
  'with what fell due by then and is not posted yet; 0 before the first, and for an unknown '
  'account. Of refills that a plan grants only for the current period (TOP_UP_TO, RESET) those '
  'of periods that went by unposted are not in it. Refuses an infinite or missing instant with '
  '22023 and 22004.';

revoke all on function pgledger.balance_at(text, timestamptz) from public;
