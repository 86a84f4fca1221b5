create or replace function pgledger.get_transaction(account_id text, key text)
returns setof pgledger.transaction
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select t.account_id, coalesce(t.key, '#' || t.seq), t.seq, t.type, t.amount,
    coalesce(t.requested_amount, t.amount), t.running_balance, 'POSTED', t.reference,
    t.external_id, coalesce(t.metadata, '{}'), t.created_at, null::timestamptz, t.original_seq,
    t.counterparty, t.usage
  from pgledger.transactions t
  where t.account_id = pgledger._checked_account(get_transaction.account_id)
    and (
      t.key = pgledger._checked_key(get_transaction.key)
      or t.seq = pgledger._seq_of(get_transaction.key))
  union all
  select p.account_id, p.key, null, p.type, p.amount, coalesce(p.requested_amount, p.amount),
    null, pgledger._pending_status(p.status, p.expires_at, statement_timestamp())::text,
    p.reference, p.external_id, coalesce(p.metadata, '{}'), p.created_at, p.expires_at, null, null,
    p.usage
  from pgledger.pending_transactions p
  where p.account_id = pgledger._checked_account(get_transaction.account_id)
    and p.key = pgledger._checked_key(get_transaction.key)
    and p.status <> 'ENABLED';
end;

comment on function pgledger.get_transaction(text, text) is
  'The transaction of a key, or of #<seq>: the posted one, or the pending one that was not '
  'enabled; no row when there is none. Refuses with 22023 and 22004.';

revoke all on function pgledger.get_transaction(text, text) from public;
