create or replace function pgledger._verify_transfers(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select 'a transfer has two legs', t.seq, t.key,
    t.counterparty || ' #' || t.counterparty_seq || ' ' || -t.amount,
    coalesce(o.account_id || ' #' || o.seq || ' ' || o.amount, 'none')
  from pgledger.transactions t
  left join pgledger.transactions o
    on o.account_id = t.counterparty and o.seq = t.counterparty_seq
  where t.account_id = _verify_transfers.account_id
    and t.counterparty is not null
    and (
      o.amount = -t.amount
      and o.counterparty = t.account_id
      and o.counterparty_seq = t.seq
      and o.key is not distinct from t.key
    ) is not true;
end;

comment on function pgledger._verify_transfers(text) is
  'Where a leg of a transfer misses the other, or disagrees with it. Private.';

revoke all on function pgledger._verify_transfers(text) from public;
