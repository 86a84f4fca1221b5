create or replace function pgledger.get_spending_cap(account_id text)
returns table (
  amount bigint,
  period interval,
  time_zone text,
  used bigint,
  remaining bigint,
  resets_at timestamptz
)
language plpgsql stable rows 1 security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := statement_timestamp();
  v_cap pgledger.spending_caps;
  v_left bigint;
begin
  select c.* into v_cap
  from pgledger.spending_caps c
  where c.account_id = pgledger._checked_account(get_spending_cap.account_id collate "default");
  if not found then
    return;
  end if;

  if v_cap.resets_at > v_now then
    select b.cap_left into v_left
    from pgledger.balances b
    where b.account_id = v_cap.account_id;
  end if;
  -- The period has ended, or the balance row is not there yet.
  if v_left is null then
    select n.cap_left, n.resets_at into strict v_left, v_cap.resets_at
    from pgledger._cap_now(v_cap.account_id, v_now) n;
  end if;

  return query select v_cap.amount, v_cap.period, v_cap.time_zone,
    least(v_cap.amount::numeric - v_left, 9223372036854775807)::bigint,
    greatest(v_left, 0), v_cap.resets_at;
end;
$$;

comment on function pgledger.get_spending_cap(text) is
  'The spending cap of an account, what was used of it in the current period (reversals '
  'deducted), what remains and when it resets; minor units, both 0 or above. remaining is 0 when '
  'captures went beyond the cap. No row without one. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_spending_cap(text) from public;
