create or replace function pgledger._lots_now(account_id text, at timestamptz, all_of_them boolean)
returns table (
  lot bigint, priority integer, expires_at timestamptz, granted bigint, remaining bigint,
  held bigint, expired bigint
)
language plpgsql stable
as $$
declare
  v_row pgledger.balances := pgledger._balance_row(_lots_now.account_id);
begin
  return query
    with reserved as (
      select r.lot,
        sum(r.amount) filter (where r.expires_at <= _lots_now.at) as released,
        sum(r.amount) filter (where (r.expires_at <= _lots_now.at) is not true) as held
      from pgledger._reserved(_lots_now.account_id) r
      where r.lot is not null
      group by r.lot
    )
    select l.seq, l.priority, l.expires_at, l.amount,
      case when l.expires_at <= _lots_now.at then 0 else n.free end::bigint,
      coalesce(r.held, 0)::bigint,
      (l.expired + case when l.expires_at <= _lots_now.at then n.free else 0 end)::bigint
    from pgledger._lots_asked(_lots_now.account_id, _lots_now.all_of_them) l
    left join reserved r on r.lot = l.seq
    cross join lateral (values (
      case when l.seq = v_row.head_lot then v_row.head_left else l.remaining end
        + coalesce(r.released, 0)
    )) n (free);
end;
$$;

comment on function pgledger._lots_now(text, timestamptz, boolean) is
  'The lots of an account as they are at an instant, what is due counted: all of them, or those '
  'that have or reserve something. Minor units. Private.';

revoke all on function pgledger._lots_now(text, timestamptz, boolean) from public;
