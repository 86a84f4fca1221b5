create or replace function pgledger._record(
  request pgledger._request, hot pgledger.balances, applied bigint, sources pgledger._sources
) returns void
language plpgsql
as $$
declare
  v_several boolean := coalesce(cardinality(sources.lots) > 1, false);
begin
  insert into pgledger.transactions (
    account_id, seq, amount, running_balance, requested_amount, created_at, type, key, reference,
    external_id, metadata, original_seq, counterparty, counterparty_seq, lot,
    usage)
  values (
    request.account_id, hot.seq, _record.applied, hot.balance,
    nullif(request.amount, _record.applied), hot.updated_at, request.type, request.key,
    request.reference, request.external_id, request.metadata, request.original_seq,
    request.counterparty, request.counterparty_seq,
    case when v_several then 0 else sources.lots[1] end, request.usage);

  if v_several then
    insert into pgledger.draws (account_id, seq, place, lot, amount)
    select request.account_id, hot.seq, s.place, s.lot, s.amount
    from unnest(sources.lots, sources.amounts) with ordinality s (lot, amount, place);
  end if;
end;
$$;

comment on function pgledger._record(
  pgledger._request, pgledger.balances, bigint, pgledger._sources) is
  'Writes a movement into the journal, and its draws beside it where several sources paid. hot '
  'is the balance row right after the movement. Private.';

revoke all on function
  pgledger._record(pgledger._request, pgledger.balances, bigint, pgledger._sources) from public;
