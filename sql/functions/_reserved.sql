create or replace function pgledger._reserved(account_id text)
returns table (key text, expires_at timestamptz, place bigint, lot bigint, amount bigint)
language sql stable
begin atomic
  select p.key, p.expires_at, coalesce(r.place, 1), coalesce(r.lot, nullif(p.lot, 0)),
    coalesce(r.amount, -p.amount)
  from pgledger.pending_transactions p
  left join pgledger.reservations r
    on p.lot = 0 and r.account_id = _reserved.account_id and r.key = p.key
  where p.account_id = _reserved.account_id
    and p.status = 'PENDING'
    and p.amount < 0;
end;

comment on function pgledger._reserved(text) is
  'What the open holds of an account reserve, in draw order by place: lot by lot, null for the '
  'pool, minor units above 0. Private.';

revoke all on function pgledger._reserved(text) from public;
