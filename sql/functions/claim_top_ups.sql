-- No balance row is locked here, so a claim waits for nobody and nobody's movements wait for it. A
-- claim in flight and a settlement in flight exclude each other by the lock on the charge.
create or replace function pgledger.claim_top_ups(
  limit_count bigint default 10,
  lease interval default '5 minutes'
) returns setof pgledger.charge
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_limit bigint := pgledger._checked_limit(claim_top_ups.limit_count);
  v_lease interval := pgledger._checked_lease(claim_top_ups.lease);
  v_now timestamptz := clock_timestamp();
  v_due record;
  v_charge pgledger.charges;
begin
  for v_due in
    select c.key, p as pending
    from pgledger.charges c
    join pgledger.pending_transactions p on p.account_id = c.account_id and p.key = c.key
    join pgledger.accounts a on a.account_id = c.account_id
    where c.due_at <= v_now
      and p.status = 'PENDING'
      -- Who is frozen is not charged anew; but what may have been charged is seen to.
      and (a.status = 'OPEN' or c.claims > 0)
    order by c.due_at
    limit v_limit
    for update of c skip locked
  loop
    update pgledger.charges c
    set claims = c.claims + 1, due_at = v_now + v_lease
    where c.account_id = (v_due.pending).account_id and c.key = v_due.key
    returning c.* into strict v_charge;
    return next pgledger._as_charge(v_due.pending, v_charge, false);
  end loop;
end;
$$;

comment on function pgledger.claim_top_ups(bigint, interval) is
  'Hands out up to limit_count auto-top-ups (1 to 10000) that are to be charged, the oldest first, '
  'and none of them to anybody else before lease (above 0, at most a day) is over. Commit, then '
  'charge each under its idempotency_key, and tell what came of it: record_payment or '
  'enable_transaction, decline_top_up, defer_top_up. Where claims is above 1 somebody may have '
  'charged it before and not come to tell: ask the provider first. The idempotency_key changes '
  'only with a decline, so one attempt is charged once, however often it is claimed. None of a '
  'frozen account, unless it was claimed before; then, and where the settings have changed since, '
  'is_wanted is false: find what was charged, and charge nothing. Takes no lock on a balance and '
  'waits for nobody. Refuses with 22023 and 22004.';

revoke all on function pgledger.claim_top_ups(bigint, interval) from public;
