create or replace function pgledger._undo(request pgledger._request, original_key text)
returns pgledger.posting
language plpgsql
as $$
declare
  v_request pgledger._request := request;
  v_hot pgledger.balances;
  v_original pgledger.transactions;
begin
  perform pgledger._checked_key(_undo.original_key);
  if request.amount <= 0 then
    perform pgledger._reject('amount', request.amount::text,
      'Undo a positive whole number of minor units, or all that remains without an amount.');
  end if;
  -- A misuse is refused as one, whether or not there is such an original.
  v_request.amount := coalesce(request.amount, 1);
  perform pgledger._check_request(v_request);
  v_request.amount := request.amount * case request.type when 'REFUND' then -1 else 1 end;

  -- What is due first: what expired of the original is not left to be undone.
  v_hot := pgledger._settle_due(pgledger._lock_balance(request.account_id));
  select t.* into v_original
  from pgledger.transactions t
  where t.account_id = request.account_id
    and (t.key = _undo.original_key or t.seq = pgledger._seq_of(_undo.original_key));

  if not found then
    return pgledger._refuse(
      v_request, v_hot, 'LG006', jsonb_build_object('original_key', _undo.original_key));
  elsif (request.type = 'REFUND') <> (v_original.type = 'TOP_UP')
    or v_original.type in ('REVERSAL', 'REFUND', 'EXPIRY', 'TRANSFER')
    or (request.type = 'REFUND' and v_original.amount < 0)
  then
    perform pgledger._reject('original_key', _undo.original_key, 'It is a ' || v_original.type
      || '. refund gives back a TOP_UP; reverse_transaction undoes USAGE, GRANT, CARD_CHECK and '
      'ADJUSTMENT; nothing undoes the others.');
  end if;

  v_request.original_seq := v_original.seq;
  if v_original.amount = 0 then
    return pgledger._refuse(v_request, v_hot, 'LG009', jsonb_build_object(
      'original', '#' || v_original.seq, 'remaining', 0, 'requested', request.amount));
  end if;
  v_request.amount := -sign(v_original.amount)::bigint
    * coalesce(request.amount, pgledger._undone_amount(v_request), abs(v_original.amount));
  if request.type = 'REVERSAL' then
    v_request.shortfall := 'FORCE';
  end if;
  perform pgledger._check_request(v_request);
  return pgledger._post_locked(v_request, v_hot);
end;
$$;

comment on function pgledger._undo(pgledger._request, text) is
  'Posts a refund or a reversal of a posted transaction, of the request''s amount (above 0) or of '
  'all that remains. Private.';

revoke all on function pgledger._undo(pgledger._request, text) from public;
