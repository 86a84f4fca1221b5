create or replace function pgledger.history(
  account_id text,
  limit_count bigint default 100,
  before_seq bigint default null,
  type pgledger.transaction_type default null
) returns setof pgledger.transaction
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select t.account_id, coalesce(t.key, '#' || t.seq), t.seq, t.type, t.amount,
    coalesce(t.requested_amount, t.amount), t.running_balance, 'POSTED', t.reference,
    t.external_id, coalesce(t.metadata, '{}'), t.created_at, null::timestamptz, t.original_seq,
    t.counterparty, t.usage
  from pgledger.transactions t
  where t.account_id = pgledger._checked_account(history.account_id)
    and t.seq < coalesce(history.before_seq, 9223372036854775807)
    and (history.type is null or t.type = history.type)
  order by t.seq desc
  limit pgledger._checked_limit(history.limit_count);
end;

comment on function pgledger.history(text, bigint, bigint, pgledger.transaction_type) is
  'The account''s posted transactions, newest first: limit_count of them (1 to 10000), before '
  'before_seq (the seq of the last row seen) where given, of one type where given. Refuses with '
  '22023 and 22004.';

revoke all on function
  pgledger.history(text, bigint, bigint, pgledger.transaction_type) from public;
