create or replace function pgledger._due(hot pgledger.balances, at timestamptz)
returns setof pgledger._movement
language plpgsql stable
as $$
declare
  v_all pgledger._movement[] := '{}'::pgledger._movement[];
  v_balance bigint := hot.balance;
  v_due pgledger._movement;
  v_wanted numeric;
  v_pool numeric := coalesce(hot.pool, hot.balance)::numeric;
  v_debt numeric;
begin
  -- Asked one by one: in one query with a condition the planner would plan it anew each time.
  if hot.pool is not null then
    v_all := array(
      select row(e.due_at, e.lot, null, -e.amount, null, null, null, null)::pgledger._movement
      from pgledger._expiries_due(hot, _due.at) e);
  end if;
  v_all := v_all || array(
    select row(r.due_at, null, r.key, r.amount, r.policy, r.expires_at, r.metadata, null)
      ::pgledger._movement
    from pgledger._refills_due(hot.account_id, _due.at, v_pool < 0) r);

  for v_due in select m.* from unnest(v_all) m order by m.due_at, m.lot nulls last loop
    if v_due.lot is null then
      v_wanted := v_due.amount::numeric;
      v_debt := greatest(-v_pool, 0);
      if v_due.policy = 'TOP_UP_TO' then
        v_wanted := greatest(v_wanted - v_balance, 0);
      elsif v_due.expires_at <= _due.at then
        -- An allowance of a period that is over: all that is left of it is the debt that it paid.
        v_wanted := least(v_wanted, v_debt);
      end if;
      -- Settling never fails: of a refill that the range of bigint has no room for, what fits.
      v_due.amount := least(
        v_wanted, 9223372036854775807::numeric - greatest(v_balance, 0))::bigint;
      continue when v_due.amount = 0;
      if v_due.policy = 'RESET' then
        v_due.to_lot := greatest(v_due.amount - v_debt, 0)::bigint;
      end if;
      v_pool := v_pool + v_due.amount - coalesce(v_due.to_lot, 0);
    end if;
    v_balance := v_balance + v_due.amount;
    return next v_due;
  end loop;
end;
$$;

comment on function pgledger._due(pgledger.balances, timestamptz) is
  'The movements that fell due on an account up to an instant and are not posted yet, in the '
  'order they fell due: expiries (amount below 0, of a lot) and refills (amount above 0, with a '
  'key). Private.';

revoke all on function pgledger._due(pgledger.balances, timestamptz) from public;
