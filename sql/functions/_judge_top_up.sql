-- What was announced is counted where it is recorded, so there is no counter that could disagree:
-- what was cancelled drops out, and what was paid late all the same is back in.
create or replace function pgledger._judge_top_up(
  request pgledger._request, hot pgledger.balances
) returns void
language plpgsql
as $$
declare
  v_limits pgledger.top_up_limits;
  v_day timestamp := date_trunc('day', hot.updated_at at time zone 'UTC');
  v_begins_at timestamptz := v_day at time zone 'UTC';
  v_count bigint := 0::bigint;
  v_sum numeric := 0::numeric;
  v_detail jsonb;
begin
  select l.* into v_limits
  from pgledger._top_up_limits_of(request.account_id) l;

  if num_nonnulls(v_limits.daily_count_limit, v_limits.daily_amount_limit) > 0 then
    select count(p.key), coalesce(sum(p.amount), 0) into v_count, v_sum
    from pgledger.pending_transactions p
    where p.account_id = request.account_id and p.amount > 0 and p.created_at >= v_begins_at
      and p.type = 'TOP_UP' and p.status in ('PENDING', 'ENABLED');
  end if;

  select jsonb_build_object(
    'limit', l.name,
    'allowed', l.allowed,
    'requested', l.requested,
    'used', l.used,
    'resets_at', case when l.used is not null then
      to_char(v_day + interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') end)
  into v_detail
  from (values
    (1, 'minimum', v_limits.minimum, request.amount, null, request.amount >= v_limits.minimum),
    (2, 'multiple_of', v_limits.multiple_of, request.amount, null,
      mod(request.amount, v_limits.multiple_of) = 0),
    (3, 'maximum', v_limits.maximum, request.amount, null, request.amount <= v_limits.maximum),
    (4, 'daily_count_limit', v_limits.daily_count_limit, 1::bigint, v_count::numeric,
      v_count < v_limits.daily_count_limit),
    (5, 'daily_amount_limit', v_limits.daily_amount_limit, request.amount, v_sum,
      v_sum + request.amount <= v_limits.daily_amount_limit)
  ) l (place, name, allowed, requested, used, holds)
  where not l.holds
  order by l.place
  limit 1;

  if found then
    perform pgledger._refuse(request, hot, 'LG012', v_detail);
  end if;
end;
$$;

comment on function pgledger._judge_top_up(pgledger._request, pgledger.balances) is
  'Refuses (LG012) a top-up beyond the limits of its account, or of its day. Only under the lock '
  'of the balance row. Private.';

revoke all on function pgledger._judge_top_up(pgledger._request, pgledger.balances) from public;
