create or replace function pgledger._emit(account_id text, kind text, payloads jsonb[])
returns void
language plpgsql
as $$
#variable_conflict use_column
declare
  v_count bigint := cardinality(_emit.payloads)::bigint;
  v_last bigint;
  v_now timestamptz := clock_timestamp();
begin
  if coalesce(v_count, 0) = 0 then
    return;
  end if;

  perform pgledger._open_if_new(_emit.account_id);
  -- The count may be older than the events where settings were restored without them.
  select max(e.seq) into v_last
  from pgledger.events e
  where e.account_id = _emit.account_id;
  update pgledger.accounts a
  set events = greatest(a.events, v_last) + v_count
  where a.account_id = _emit.account_id
  returning a.events into strict v_last;

  insert into pgledger.events (account_id, seq, kind, payload, created_at, visible_at)
  select _emit.account_id, v_last - v_count + p.place, _emit.kind, p.payload, v_now, v_now
  from unnest(_emit.payloads) with ordinality p (payload, place);

  -- Sent at commit, once for each kind in it. A queue that an idle listener elsewhere has let fill
  -- up would fail that commit; so before that nobody is woken, and consumers find it by polling.
  if pg_notification_queue_usage() < 0.5 then
    perform pg_notify('pgledger_events', _emit.kind);
  end if;
end;
$$;

comment on function pgledger._emit(text, text, jsonb[]) is
  'Writes events of one kind into the outbox, in order, and wakes who listens; nothing for none. '
  'Only under the lock of the balance row. Private.';

revoke all on function pgledger._emit(text, text, jsonb[]) from public;
