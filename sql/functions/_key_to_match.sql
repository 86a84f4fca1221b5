-- Read before the lock of the balance row, and judged again under it: whoever paid in between
-- makes it a refusal, not a second effect.
create or replace function pgledger._key_to_match(payment pgledger.payments, account_id text)
returns text
language sql stable
begin atomic
  select (payment).key
  where coalesce((payment).account_id, _key_to_match.account_id) = _key_to_match.account_id
    and not exists (
      select from pgledger.transactions t
      where t.account_id = _key_to_match.account_id and t.key = (payment).key)
    and (left((payment).key, 1) <> '#' or exists (
      select from pgledger.pending_transactions p
      where p.account_id = _key_to_match.account_id and p.key = (payment).key));
end;

comment on function pgledger._key_to_match(pgledger.payments, text) is
  'The key that was told of an unmatched payment, where it is of use: of that account, and nobody '
  'has paid for it; else null. Private.';

revoke all on function pgledger._key_to_match(pgledger.payments, text) from public;
