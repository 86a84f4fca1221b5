create or replace function pgledger.explain_transaction(account_id text, key text)
returns table (
  place bigint,
  lot bigint,
  lot_key text,
  amount bigint,
  priority integer,
  expires_at timestamptz,
  reason text
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  with sources as (
    select e.lot, e.amount, e.priority, e.expires_at, e.reason, e.place
    from pgledger.transactions t
    cross join lateral pgledger._explain_posted(t) e
    where t.account_id = pgledger._checked_account(explain_transaction.account_id)
      and (
        t.key = pgledger._checked_key(explain_transaction.key)
        or t.seq = pgledger._seq_of(explain_transaction.key))
    union all
    select r.lot, r.amount, l.priority, l.expires_at,
      'reserved; ' || pgledger._why_drawn(null, l, false), r.place
    from pgledger._reserved(explain_transaction.account_id) r
    left join pgledger.lots l on l.account_id = explain_transaction.account_id and l.seq = r.lot
    where r.key = explain_transaction.key
      and (r.expires_at <= statement_timestamp()) is not true
  )
  select row_number() over (order by s.place), s.lot, coalesce(t.key, '#' || s.lot), s.amount,
    coalesce(s.priority, 0), nullif(s.expires_at, 'infinity'), s.reason
  from sources s
  left join pgledger.transactions t
    on t.account_id = explain_transaction.account_id and t.seq = s.lot
  order by s.place;
end;

comment on function pgledger.explain_transaction(text, text) is
  'Which lots paid for the transaction of a key, or of #<seq>, and why in that order: one row '
  'per source, lot null for the pool. Of a credit, where it went; of a reversal, what it gave '
  'back to whom; of an open hold, what it reserves. amount is above 0, minor units; expires_at '
  'is the lot''s as it is now, null where it never expires. No row when there is no such '
  'transaction, or what it used cost nothing. Refuses with 22023 and 22004.';

revoke all on function pgledger.explain_transaction(text, text) from public;
