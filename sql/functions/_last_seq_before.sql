-- created_at never decreases with seq: found by bisection over the primary key, about log2(n) index
-- probes, as balance_at() does.
create or replace function pgledger._last_seq_before(account_id text, at timestamptz)
returns bigint
language plpgsql stable
as $$
declare
  v_low bigint := 0::bigint;
  v_high bigint;
  v_middle bigint;
  v_found record;
begin
  select max(t.seq) into v_high
  from pgledger.transactions t
  where t.account_id = _last_seq_before.account_id;

  -- All up to v_low is before; all above v_high is not.
  while v_low < v_high loop
    v_middle := v_high - (v_high - v_low) / 2;
    -- At or below, not equal: the history of another system may have gaps, or begin late.
    select t.seq, t.created_at into v_found
    from pgledger.transactions t
    where t.account_id = _last_seq_before.account_id and t.seq <= v_middle
    order by t.seq desc
    limit 1;

    if v_found.created_at >= _last_seq_before.at then
      v_high := v_found.seq - 1;
    else
      v_low := v_middle;
    end if;
  end loop;

  return v_low;
end;
$$;

comment on function pgledger._last_seq_before(text, timestamptz) is
  'A seq that parts what an account posted before an instant, at or below it, from what it '
  'posted since, above it; 0 where nothing was before. Private.';

revoke all on function pgledger._last_seq_before(text, timestamptz) from public;
