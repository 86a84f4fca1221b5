create or replace function pgledger.set_auto_top_up(
  account_id text,
  threshold bigint,
  amount bigint,
  mode pgledger.auto_top_up_mode default 'INTENT',
  enabled boolean default true,
  daily_count_limit bigint default null,
  daily_amount_limit bigint default null,
  monthly_count_limit bigint default null,
  monthly_amount_limit bigint default null,
  actor text default null
) returns pgledger.auto_top_ups
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_settings pgledger.auto_top_ups;
begin
  v_settings.account_id := pgledger._checked_account(set_auto_top_up.account_id);
  v_settings.threshold := set_auto_top_up.threshold;
  v_settings.amount := set_auto_top_up.amount;
  v_settings.mode := set_auto_top_up.mode;
  v_settings.enabled := set_auto_top_up.enabled;
  v_settings.daily_count_limit := set_auto_top_up.daily_count_limit;
  v_settings.daily_amount_limit := set_auto_top_up.daily_amount_limit;
  v_settings.monthly_count_limit := set_auto_top_up.monthly_count_limit;
  v_settings.monthly_amount_limit := set_auto_top_up.monthly_amount_limit;
  perform pgledger._check_auto_top_up(v_settings);

  perform pgledger._lock_account(v_settings.account_id);
  perform pgledger._audit(
    v_settings.account_id, 'set_auto_top_up', set_auto_top_up.actor collate "default",
    to_jsonb(v_settings) - 'account_id');
  return pgledger._store_auto_top_up(v_settings);
end;
$$;

comment on function pgledger.set_auto_top_up(
  text, bigint, bigint, pgledger.auto_top_up_mode, boolean, bigint, bigint, bigint, bigint, text) is
  'Sets, whole, when an account tops itself up, and answers with the settings; moves no credits. A '
  'debit or hold that leaves available below threshold records one pending TOP_UP of amount > 0 '
  '(INTENT; an event tells, enabling or cancelling it arms the next) or posts it at once '
  '(INSTANT). The limits count top-ups and their amounts per day and calendar month of UTC, '
  'cancelled ones not counted; null is no limit; at a limit it pauses until the period ends. '
  'Changed settings arm it anew; a repeat changes nothing. Amounts in minor units. Kept in the '
  'audit log, as done by actor. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_auto_top_up(
  text, bigint, bigint, pgledger.auto_top_up_mode, boolean, bigint, bigint, bigint, bigint, text)
  from public;
