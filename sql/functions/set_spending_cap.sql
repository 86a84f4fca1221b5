create or replace function pgledger.set_spending_cap(
  account_id text,
  amount bigint,
  period interval default '1 month',
  time_zone text default 'UTC',
  actor text default null
) returns setof pgledger.spending_caps
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_account pgledger.accounts;
  v_hot pgledger.balances;
  v_cap record;
begin
  if set_spending_cap.amount < 0 then
    perform pgledger._reject('amount', set_spending_cap.amount::text,
      'A cap is 0 or a positive whole number of minor units; null takes it away.');
  end if;
  perform pgledger._checked_period(set_spending_cap.period, 'CALENDAR');
  perform pgledger._checked_time_zone(set_spending_cap.time_zone);

  v_account := pgledger._lock_account(set_spending_cap.account_id collate "default");
  v_hot := pgledger._lock_balance(v_account.account_id);
  delete from pgledger.spending_caps c
  where c.account_id = v_account.account_id;
  if set_spending_cap.amount is not null then
    insert into pgledger.spending_caps (account_id, amount, period, time_zone, resets_at)
    values (
      v_account.account_id, set_spending_cap.amount, set_spending_cap.period,
      set_spending_cap.time_zone,
      pgledger._period_end(
        set_spending_cap.period, set_spending_cap.time_zone, null, v_hot.updated_at));
  end if;

  -- What was used in this period counts already. Without a cap there is no row, and all is null.
  select n.* into v_cap
  from pgledger._cap_now(v_account.account_id, v_hot.updated_at) n;
  update pgledger.balances b
  set cap_left = v_cap.cap_left, attention_at = least(b.attention_at, v_cap.resets_at)
  where b.account_id = v_account.account_id;

  perform pgledger._audit(
    v_account.account_id, 'set_spending_cap', set_spending_cap.actor collate "default",
    jsonb_build_object(
      'amount', set_spending_cap.amount,
      'period', set_spending_cap.period,
      'time_zone', set_spending_cap.time_zone));
  return query
    select c.*
    from pgledger.spending_caps c
    where c.account_id = v_account.account_id;
end;
$$;

comment on function pgledger.set_spending_cap(text, bigint, interval, text, text) is
  'Sets, whole, what an account may use in each period of the calendar in time_zone (1 day, 7 days '
  'from Monday, 1, 3 or 12 months), and answers with the cap; amount >= 0 in minor units, null '
  'takes the cap away and answers with no row. USAGE counts when it is posted, so a hold when it '
  'is captured, and what was used in this period counts already; the reversal of usage of this '
  'period gives room back. A spend or hold beyond what is left is refused with LG008; captures and '
  'fail_insufficient_credits => false go through, and count. Moves no credits. A repeat changes '
  'nothing. Kept in the audit log, as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_spending_cap(text, bigint, interval, text, text) from public;
