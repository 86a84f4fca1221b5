create or replace function pgledger._verify_reservations(account_id text)
returns table (rule text, seq bigint, key text, expected text, found text)
language sql stable
begin atomic
  select r.rule, null::bigint, k.key, r.expected, r.found
  from (
    select p.key
    from pgledger.pending_transactions p
    where p.account_id = _verify_reservations.account_id and p.lot is not null
    union
    select r.key
    from pgledger.reservations r
    where r.account_id = _verify_reservations.account_id
  ) k
  left join pgledger.pending_transactions p
    on p.account_id = _verify_reservations.account_id and p.key = k.key
  left join pgledger.lots l on l.account_id = _verify_reservations.account_id and l.seq = p.lot
  cross join lateral (
    select sum(r.amount) as amount, count(*) as sources, max(r.place) as last_place,
      count(*) filter (where r.lot is not null and not exists (
        select from pgledger.lots o
        where o.account_id = _verify_reservations.account_id and o.seq = r.lot)) as unknown
    from pgledger.reservations r
    where r.account_id = _verify_reservations.account_id and r.key = k.key
  ) s
  cross join lateral (values
    ('reservations are there while a hold is open in several sources',
      case when p.lot = 0 and p.status = 'PENDING'
        then s.sources > 1 and s.sources = s.last_place else s.sources = 0 end,
      case when p.lot = 0 and p.status = 'PENDING' then 'several' else 'none' end,
      s.sources::text),
    ('reservations add up to their hold',
      coalesce(s.amount = -p.amount, true), (-p.amount)::text, s.amount::text),
    ('a hold reserves in lots that are there',
      p.amount < 0 and s.unknown = 0 and (p.lot = 0 or l.seq is not null),
      'known lots', coalesce('#' || nullif(p.lot, 0), s.unknown || ' unknown'))
  ) r (rule, holds, expected, found)
  where r.holds is not true;
end;

comment on function pgledger._verify_reservations(text) is
  'Where what holds reserve in lots disagrees with the holds. Private.';

revoke all on function pgledger._verify_reservations(text) from public;
