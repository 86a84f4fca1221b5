create or replace function pgledger._due(hot pgledger.balances, at timestamptz)
returns setof pgledger._movement
language plpgsql stable
as $$
declare
  v_balance bigint := hot.balance;
  v_due pgledger._movement;
  v_wanted numeric;
begin
  for v_due.due_at, v_due.lot, v_due.key, v_due.amount, v_due.policy, v_due.expires_at,
    v_due.metadata
  in
    select e.due_at, e.lot, null, e.amount, null, null, null
    from pgledger._expiries_due(hot, _due.at) e
    where hot.pool is not null
    union all
    select r.due_at, null, r.key, r.amount, r.policy, r.expires_at, r.metadata
    from pgledger._refills_due(hot.account_id, _due.at) r
    order by 1, 2 nulls last
  loop
    if v_due.lot is not null then
      v_due.amount := -v_due.amount;
    else
      v_wanted := v_due.amount::numeric;
      if v_due.policy = 'TOP_UP_TO' then
        v_wanted := greatest(v_wanted - v_balance, 0);
      end if;
      -- Settling never fails: of a refill that the range of bigint has no room for, what fits.
      v_due.amount := least(v_wanted, 9223372036854775807::numeric - v_balance)::bigint;
      continue when v_due.amount = 0;
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
