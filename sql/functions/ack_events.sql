create or replace function pgledger.ack_events(account_ids text[], seqs bigint[]) returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_event record;
  v_acked bigint := 0::bigint;
begin
  if ack_events.account_ids is null then
    perform pgledger._reject('account_ids', null, 'Name the account of each event.');
  end if;
  if cardinality(ack_events.account_ids) is distinct from cardinality(ack_events.seqs) then
    perform pgledger._reject('seqs', cardinality(ack_events.seqs)::text,
      'Give one seq for each account id.');
  end if;

  -- In one order for everybody, so that two of these never wait for each other.
  for v_event in
    select g.account_id collate "default" as account_id, g.seq
    from unnest(ack_events.account_ids, ack_events.seqs) g (account_id, seq)
    order by g.account_id collate "C", g.seq
  loop
    if v_event.account_id is null or v_event.seq is null then
      perform pgledger._reject(
        case when v_event.account_id is null then 'account_ids' else 'seqs' end, null,
        'Name each event by its account and its seq.');
    end if;
    update pgledger.events e
    set acked_at = v_now
    where e.account_id = v_event.account_id and e.seq = v_event.seq and e.acked_at is null;
    if found then
      v_acked := v_acked + 1;
    end if;
  end loop;
  return v_acked;
end;
$$;

comment on function pgledger.ack_events(text[], bigint[]) is
  'Acknowledges events by account and seq, pairwise: they are handed out no more. Returns how '
  'many were not acknowledged before; unknown ones are not counted. A repeat changes nothing. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.ack_events(text[], bigint[]) from public;
