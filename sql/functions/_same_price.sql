create or replace function pgledger._same_price(
  request pgledger._request, pending pgledger.pending_transactions, hot pgledger.balances
) returns void
language plpgsql
as $$
begin
  if (request.metadata -> 'price', request.metadata -> 'price_currency')
    is distinct from (pending.metadata -> 'price', pending.metadata -> 'price_currency')
  then
    perform pgledger._refuse(request, hot, 'LG002', jsonb_build_object(
      'recorded', jsonb_build_object(
        'key', pending.key,
        'price', pending.metadata -> 'price',
        'price_currency', pending.metadata -> 'price_currency',
        'status', pending.status),
      'given', jsonb_build_object(
        'key', request.key,
        'price', request.metadata -> 'price',
        'price_currency', request.metadata -> 'price_currency')));
  end if;
end;
$$;

comment on function pgledger._same_price(
  pgledger._request, pgledger.pending_transactions, pgledger.balances) is
  'Refuses (LG002) the repeat of a top-up at another price. Private.';

revoke all on function pgledger._same_price(
  pgledger._request, pgledger.pending_transactions, pgledger.balances) from public;
