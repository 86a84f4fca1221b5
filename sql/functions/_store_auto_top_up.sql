create or replace function pgledger._store_auto_top_up(settings pgledger.auto_top_ups)
returns pgledger.auto_top_ups
language plpgsql
as $$
#variable_conflict use_column
declare
  v_stored pgledger.auto_top_ups;
  v_armed_below bigint;
begin
  insert into pgledger.auto_top_ups as s (
    account_id, threshold, amount, mode, enabled, daily_count_limit, daily_amount_limit,
    monthly_count_limit, monthly_amount_limit)
  values (
    settings.account_id, settings.threshold, settings.amount, settings.mode, settings.enabled,
    settings.daily_count_limit, settings.daily_amount_limit,
    settings.monthly_count_limit, settings.monthly_amount_limit)
  on conflict (account_id) do update
  set threshold = excluded.threshold, amount = excluded.amount, mode = excluded.mode,
      enabled = excluded.enabled,
      daily_count_limit = excluded.daily_count_limit,
      daily_amount_limit = excluded.daily_amount_limit,
      monthly_count_limit = excluded.monthly_count_limit,
      monthly_amount_limit = excluded.monthly_amount_limit,
      waiting_for = null, resumes_at = null
  where (s.threshold, s.amount, s.mode, s.enabled, s.daily_count_limit, s.daily_amount_limit,
      s.monthly_count_limit, s.monthly_amount_limit)
    is distinct from (excluded.threshold, excluded.amount, excluded.mode, excluded.enabled,
      excluded.daily_count_limit, excluded.daily_amount_limit,
      excluded.monthly_count_limit, excluded.monthly_amount_limit);

  -- They will ask anew: nobody is charged for what the old ones asked, unless that is under way.
  if found then
    update pgledger.charges c
    set due_at = null
    where c.account_id = settings.account_id and c.due_at is not null and c.claims = 0;
  end if;

  select s.* into strict v_stored
  from pgledger.auto_top_ups s
  where s.account_id = settings.account_id;

  v_armed_below := pgledger._armed_below(settings.account_id);
  update pgledger.balances b
  set top_up_below = v_armed_below
  where b.account_id = settings.account_id;
  return v_stored;
end;
$$;

comment on function pgledger._store_auto_top_up(pgledger.auto_top_ups) is
  'Writes checked settings, under the lock of the balance row, and arms them when they changed; '
  'what those before them asked for is not charged any more. Private.';

revoke all on function pgledger._store_auto_top_up(pgledger.auto_top_ups) from public;
