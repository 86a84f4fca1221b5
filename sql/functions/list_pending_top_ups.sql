-- A top-up is above 0 in any case: that it is said names the index, without the holds.
create or replace function pgledger.list_pending_top_ups(
  account_id text default null,
  before timestamptz default null,
  limit_count bigint default 100
) returns setof pgledger.charge
language sql stable security definer
set search_path = pg_catalog, pg_temp
begin atomic
  select a.*
  from (
    select p.account_id, p.key
    from pgledger.pending_transactions p
    where p.status = 'PENDING' and p.amount > 0 and p.type = 'TOP_UP'
      and (list_pending_top_ups.account_id is null
        or p.account_id = pgledger._checked_account(list_pending_top_ups.account_id))
      and p.created_at < coalesce(list_pending_top_ups.before, 'infinity')
    order by p.created_at, p.account_id collate "C", p.key collate "C"
    limit pgledger._checked_limit(list_pending_top_ups.limit_count)
  ) o
  join pgledger.pending_transactions p on p.account_id = o.account_id and p.key = o.key
  left join pgledger.charges c on c.account_id = o.account_id and c.key = o.key
  cross join lateral pgledger._as_charge(p, c, false) a
  order by p.created_at, p.account_id collate "C", p.key collate "C";
end;

comment on function pgledger.list_pending_top_ups(text, timestamptz, bigint) is
  'Top-ups that were announced and are neither paid nor given up, of one account or of all, the '
  'oldest first: limit_count of them (1 to 10000), announced before an instant where one is given. '
  'Refuses with 22023 and 22004.';

revoke all on function pgledger.list_pending_top_ups(text, timestamptz, bigint) from public;
