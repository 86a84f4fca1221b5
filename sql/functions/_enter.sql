create or replace function pgledger._enter(
  request pgledger._request, hot pgledger.balances, applied bigint
) returns pgledger.balances
language plpgsql
as $$
declare
  v_hot pgledger.balances := hot;
  v_sources pgledger._sources;
begin
  if hot.pool is not null or pgledger._forms_lot(request) then
    v_hot := pgledger._put_head_back(hot);
    v_sources := pgledger._sources_of(request, hot, _enter.applied);
    v_hot.pool := coalesce(hot.pool, hot.balance) - v_sources.from_pool;
    v_hot.held_in_lots := coalesce(hot.held_in_lots, 0) - v_sources.unreserved;
    v_hot.attention_at := least(hot.attention_at, v_sources.attention_at);
  end if;
  if hot.cap_left is not null then
    -- What was used may be more than a bigint: credits can be spent, and topped up, for ever.
    v_hot.cap_left := greatest(-9223372036854775808, hot.cap_left::numeric
      + pgledger._cap_change(request, _enter.applied, hot.updated_at))::bigint;
  end if;
  v_hot.balance := hot.balance + _enter.applied;
  v_hot.held := hot.held - coalesce(request.released, 0);
  v_hot.seq := hot.seq + 1;
  perform pgledger._record(request, v_hot, _enter.applied, v_sources);
  return v_hot;
end;
$$;

comment on function pgledger._enter(pgledger._request, pgledger.balances, bigint) is
  'Enters one movement into the journal, the lots and the draws, at hot.updated_at; the balance '
  'row after it, which the caller writes. Private.';

revoke all on function pgledger._enter(pgledger._request, pgledger.balances, bigint) from public;
