create or replace function pgledger._cap_now(account_id text, at timestamptz)
returns table (amount bigint, cap_left bigint, resets_at timestamptz)
language plpgsql stable rows 1
as $$
declare
  v_cap pgledger.spending_caps;
  v_end timestamptz;
  v_before bigint;
  v_used numeric;
begin
  select c.* into v_cap
  from pgledger.spending_caps c
  where c.account_id = _cap_now.account_id;
  if not found then
    return;
  end if;

  v_end := pgledger._period_end(v_cap.period, v_cap.time_zone, null, _cap_now.at);
  v_before := pgledger._last_seq_before(_cap_now.account_id,
    pgledger._period_start(v_cap.period, v_cap.time_zone, null, _cap_now.at));
  select coalesce(-sum(t.amount), 0) into v_used
  from pgledger.transactions t
  where t.account_id = _cap_now.account_id
    and t.seq > v_before
    and t.created_at < v_end
    and case
      when t.type = 'USAGE' then t.amount < 0
      -- Looked up one by one: a join might read all that the account ever posted.
      when t.original_seq > v_before then (
        select o.type = 'USAGE' and o.amount < 0
        from pgledger.transactions o
        where o.account_id = _cap_now.account_id and o.seq = t.original_seq)
    end;

  -- What was used may be more than a bigint: credits can be spent, and topped up, for ever.
  return query select v_cap.amount,
    greatest(v_cap.amount - v_used, -9223372036854775808)::bigint, v_end;
end;
$$;

comment on function pgledger._cap_now(text, timestamptz) is
  'The spending cap of an account, what it leaves in the period that holds an instant, minor '
  'units, by the journal, and when that period ends; no row without a cap. Usage counts when it '
  'is posted; the reversal of usage of the same period gives back. Private.';

revoke all on function pgledger._cap_now(text, timestamptz) from public;
