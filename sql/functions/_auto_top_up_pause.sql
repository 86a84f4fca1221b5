-- What was asked for is counted where it is recorded, newest first, so there is no counter that
-- could disagree: an intent that was cancelled drops out, one that was paid counts what was paid.
create or replace function pgledger._auto_top_up_pause(
  settings pgledger.auto_top_ups, at timestamptz
) returns timestamptz
language plpgsql stable
as $$
declare
  v_month timestamp := date_trunc('month', _auto_top_up_pause.at at time zone 'UTC');
  v_day timestamp := date_trunc('day', _auto_top_up_pause.at at time zone 'UTC');
  v_past record;
  v_daily_count bigint := 1::bigint;
  v_daily_amount numeric := settings.amount::numeric;
  v_monthly_count bigint := 1::bigint;
  v_monthly_amount numeric := settings.amount::numeric;
begin
  -- Without a limit there is nothing to count, however many there were this month.
  if num_nonnulls(settings.daily_count_limit, settings.daily_amount_limit,
    settings.monthly_count_limit, settings.monthly_amount_limit) = 0
  then
    return null;
  end if;

  for v_number in reverse settings.intents::integer..1 loop
    select coalesce(p.created_at, t.created_at) at time zone 'UTC' as created_at,
      coalesce(t.amount, p.amount) as amount,
      t.seq is not null or p.status = 'PENDING' as counts
    into v_past
    from (values ('#auto-' || v_number)) k (key)
    left join pgledger.transactions t on t.account_id = settings.account_id and t.key = k.key
    left join pgledger.pending_transactions p
      on p.account_id = settings.account_id and p.key = k.key;

    exit when v_past.created_at < v_month;
    continue when v_past.counts is not true;
    v_monthly_count := v_monthly_count + 1;
    v_monthly_amount := v_monthly_amount + v_past.amount;
    if v_past.created_at >= v_day then
      v_daily_count := v_daily_count + 1;
      v_daily_amount := v_daily_amount + v_past.amount;
    end if;
  end loop;

  return case
    when v_monthly_count > settings.monthly_count_limit
      or v_monthly_amount > settings.monthly_amount_limit
    then (v_month + interval '1 month') at time zone 'UTC'
    when v_daily_count > settings.daily_count_limit
      or v_daily_amount > settings.daily_amount_limit
    then (v_day + interval '1 day') at time zone 'UTC'
  end;
end;
$$;

comment on function pgledger._auto_top_up_pause(pgledger.auto_top_ups, timestamptz) is
  'When the period ends whose limit one more top-up would exceed, a day or a month of UTC; null '
  'when none would be. Private.';

revoke all on function pgledger._auto_top_up_pause(pgledger.auto_top_ups, timestamptz) from public;
