create or replace function pgledger._lot_of(account_id text, key text) returns pgledger.lots
language plpgsql stable
as $$
declare
  v_seq bigint;
  v_lot pgledger.lots;
begin
  select t.seq into v_seq
  from pgledger.transactions t
  where t.account_id = _lot_of.account_id
    and (t.key = _lot_of.key or t.seq = pgledger._seq_of(_lot_of.key));
  if not found then
    return null;
  end if;

  select l.* into v_lot
  from pgledger.lots l
  where l.account_id = _lot_of.account_id and l.seq = v_seq;
  if not found then
    perform pgledger._reject('key', _lot_of.key,
      'It made no lot: only a credit with an expiry or a priority does.');
  end if;
  return v_lot;
end;
$$;

comment on function pgledger._lot_of(text, text) is
  'The lot that the transaction of a key made; null when there is no such transaction, 22023 '
  'when it made none. Private.';

revoke all on function pgledger._lot_of(text, text) from public;
