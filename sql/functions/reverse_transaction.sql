create or replace function pgledger.reverse_transaction(
  account_id text,
  original_key text,
  amount bigint default null,
  key text default null,
  reference text default null,
  metadata jsonb default null,
  extend interval default null,
  raise_refusals boolean default true,
  actor text default null
) returns pgledger.posting
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_request pgledger._request;
begin
  if reverse_transaction.extend is not null then
    perform pgledger._checked_span('extend', reverse_transaction.extend);
  end if;
  v_request := pgledger._asked(
    reverse_transaction.account_id, reverse_transaction.amount, 'REVERSAL',
    reverse_transaction.key, 'REFUSE', reverse_transaction.reference,
    reverse_transaction.metadata, reverse_transaction.raise_refusals, null);
  v_request.extend := reverse_transaction.extend;
  return pgledger._audited(
    pgledger._undo(v_request, reverse_transaction.original_key collate "default"),
    'reverse_transaction', reverse_transaction.actor collate "default",
    jsonb_build_object(
      'original_key', reverse_transaction.original_key,
      'amount', reverse_transaction.amount,
      'key', reverse_transaction.key,
      'reference', reverse_transaction.reference,
      'extend', reverse_transaction.extend));
end;
$$;

comment on function pgledger.reverse_transaction(
  text, text, bigint, text, text, jsonb, interval, boolean, text) is
  'Undoes a posted USAGE, GRANT, CARD_CHECK or ADJUSTMENT by a REVERSAL the other way: amount > 0 '
  'of it, minor units, or all that remains of it. May be repeated, under other keys, up to the '
  'original. What a debit drew goes back to the very lots that paid, the last drawn first; what '
  'comes back to a lot that has ended expires at once, unless extend (above 0, at most 100 years) '
  'lets that lot live on for so long from now. To reverse a credit takes from its own lot first, '
  'and may leave a debt; what expired of it is gone already. A TOP_UP is undone by refund. A '
  'repeat of the key changes nothing and answers with the original reversal. Kept in the audit '
  'log, as done by actor. Refuses with LG002, LG004 (closed), LG006, LG009, 22003, 22023 (cannot '
  'be reversed) and 22004.';

revoke all on function pgledger.reverse_transaction(
  text, text, bigint, text, text, jsonb, interval, boolean, text) from public;
