-- What the application took itself counts as it is. Of all else a part of the money stands for its
-- part of the credits, rounded down once over all of it, so that all money stands for all credits.
create or replace function pgledger._return_targets(
  payment pgledger.payments, credits bigint, last_id text
) returns table (place bigint, return_id text, target bigint)
language sql stable
begin atomic
  select n.place, n.return_id,
    least(
      credits,
      n.own + div(
        credits * greatest(least(n.money, coalesce((payment).paid, 0) - n.own_money), 0),
        greatest((payment).paid, 1))
    )::bigint
  from (
    select
      row_number() over w as place,
      r.return_id,
      coalesce(sum(r.amount) filter (where r.own_seq is null) over w, 0) as money,
      coalesce(sum(r.amount) filter (where r.own_seq is not null) over w, 0) as own_money,
      coalesce(sum(pgledger._original_left((payment).account_id, r.own_seq)) over w, 0) as own
    from pgledger.payment_returns r
    where r.provider = (payment).provider and r.payment_id = (payment).payment_id
      and pgledger._is_in_effect(r.status, r.policy)
    window w as (
      order by r.own_seq is null, r.return_id is not distinct from last_id, r.created_at,
        r.return_id)
  ) n
  order by n.place;
end;

comment on function pgledger._return_targets(pgledger.payments, bigint, text) is
  'How many of the credits of a payment its refunds and disputes take in all, those in effect, one '
  'after the other: last_id last, and what the application took itself first, so that it never '
  'falls. Private.';

revoke all on function pgledger._return_targets(pgledger.payments, bigint, text) from public;
