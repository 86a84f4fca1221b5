create or replace function pgledger.set_top_up_limits(
  account_id text default null,
  minimum bigint default null,
  multiple_of bigint default null,
  maximum bigint default null,
  daily_count_limit bigint default null,
  daily_amount_limit bigint default null,
  actor text default null
) returns setof pgledger.top_up_limits
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_limits pgledger.top_up_limits;
begin
  v_limits.account_id := coalesce(set_top_up_limits.account_id, '') collate "default";
  v_limits.minimum := set_top_up_limits.minimum;
  v_limits.multiple_of := set_top_up_limits.multiple_of;
  v_limits.maximum := set_top_up_limits.maximum;
  v_limits.daily_count_limit := set_top_up_limits.daily_count_limit;
  v_limits.daily_amount_limit := set_top_up_limits.daily_amount_limit;
  perform pgledger._check_top_up_limits(v_limits);
  if set_top_up_limits.account_id is not null then
    perform pgledger._lock_account(v_limits.account_id);
  end if;

  if num_nonnulls(v_limits.minimum, v_limits.multiple_of, v_limits.maximum,
    v_limits.daily_count_limit, v_limits.daily_amount_limit) = 0
  then
    delete from pgledger.top_up_limits l
    where l.account_id = v_limits.account_id;
  else
    insert into pgledger.top_up_limits as l (
      account_id, minimum, multiple_of, maximum, daily_count_limit, daily_amount_limit)
    values (
      v_limits.account_id, v_limits.minimum, v_limits.multiple_of, v_limits.maximum,
      v_limits.daily_count_limit, v_limits.daily_amount_limit)
    on conflict (account_id) do update
    set minimum = excluded.minimum, multiple_of = excluded.multiple_of,
        maximum = excluded.maximum, daily_count_limit = excluded.daily_count_limit,
        daily_amount_limit = excluded.daily_amount_limit;
  end if;

  perform pgledger._audit(
    set_top_up_limits.account_id, 'set_top_up_limits', set_top_up_limits.actor,
    to_jsonb(v_limits) - 'account_id');
  return query select l.* from pgledger._top_up_limits_of(v_limits.account_id) l;
end;
$$;

comment on function pgledger.set_top_up_limits(
  text, bigint, bigint, bigint, bigint, bigint, text) is
  'Sets, whole, within which limits an account''s top-ups are created, or without an account those '
  'of every account that has none of its own: minimum, multiple_of and maximum of one, '
  'daily_count_limit and daily_amount_limit of all that are announced in a day of UTC, cancelled '
  'ones not counted, those of an auto-top-up counted but not limited; minor units, null is no '
  'limit. With none given an account goes by those of all again. Answers with the limits that '
  'apply now, of an empty account_id where they are those of all; no row where there are none. '
  'Writes the audit log: actor is who did it. Refuses with LG003, 22023 and 22004.';

revoke all on function pgledger.set_top_up_limits(
  text, bigint, bigint, bigint, bigint, bigint, text) from public;
