create or replace function pgledger.lots(
  account_id text,
  include_closed boolean default true,
  limit_count bigint default 1000
) returns table (
  lot bigint,
  key text,
  type pgledger.transaction_type,
  granted bigint,
  drawn bigint,
  expired bigint,
  held bigint,
  remaining bigint,
  priority integer,
  expires_at timestamptz,
  created_at timestamptz,
  metadata jsonb
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select n.lot, coalesce(t.key, '#' || n.lot), t.type, n.granted,
    n.granted - n.remaining - n.held - n.expired, n.expired, n.held, n.remaining, n.priority,
    nullif(n.expires_at, 'infinity'), t.created_at, coalesce(t.metadata, '{}')
  from pgledger._lots_now(
    pgledger._checked_account(lots.account_id), statement_timestamp(),
    lots.include_closed is not false) n
  left join pgledger.transactions t on t.account_id = lots.account_id and t.seq = n.lot
  where lots.include_closed is not false or n.remaining + n.held > 0
  order by n.remaining + n.held > 0 desc,
    case when n.remaining + n.held > 0 then n.priority end,
    case when n.remaining + n.held > 0 then n.expires_at end,
    case when n.remaining + n.held > 0 then n.lot else -n.lot end
  limit pgledger._checked_limit(lots.limit_count);
end;

comment on function pgledger.lots(text, boolean, bigint) is
  'The lots of an account as of the start of the statement, limit_count of them (1 to 10000): '
  'first those with something left, in the order they are drawn, then, unless include_closed is '
  'false, those used up, newest first. granted is what the lot got; it is drawn + expired + '
  'held + remaining, in minor units. drawn is net of what reversals gave back, and includes '
  'what was revoked. key is that of the credit that made it; expires_at is null where it never '
  'does. Refuses with 22023 and 22004.';

revoke all on function pgledger.lots(text, boolean, bigint) from public;
