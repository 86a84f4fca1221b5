create or replace function pgledger._tell_low(
  hot pgledger.balances, available bigint, change bigint, key text, reference text
) returns void
language plpgsql
as $$
begin
  if _tell_low.available < hot.low_below
    and _tell_low.available - _tell_low.change >= hot.low_below
  then
    perform pgledger._emit(hot.account_id, 'low_balance', array[jsonb_build_object(
      'available', _tell_low.available,
      'level', hot.low_below,
      'key', _tell_low.key,
      'reference', _tell_low.reference)]);
  end if;
end;
$$;

comment on function pgledger._tell_low(pgledger.balances, bigint, bigint, text, text) is
  'Tells the outbox when a change took available below the account''s low-balance level. '
  'Private.';

revoke all on function
  pgledger._tell_low(pgledger.balances, bigint, bigint, text, text) from public;
