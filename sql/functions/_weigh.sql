-- Before anything is locked, so that nobody waits for it. In bigint, where no sum of a batch
-- reaches 2^61: who moves more is looked at one by one.
create or replace function pgledger._weigh(requests pgledger._request[]) returns pgledger._item[]
language plpgsql immutable
set jit = off
as $$
declare
  v_most bigint := 2305843009213693952 / greatest(cardinality(requests), 1);
begin
  return array(
    with asked as materialized (
      select r.*, case when r.amount between -v_most and v_most then r.amount end as small
      from unnest(requests) with ordinality r (
        account_id, amount, type, key, announced, ceiling_balance, shortfall, reference,
        external_id, metadata, raise_refusals, expires_at, original_seq, counterparty,
        counterparty_seq, released, credits_expire_at, priority, extend, usage, item)
    ), repeated as materialized (
      select a.account_id, a.key from asked a group by a.account_id, a.key having count(a.key) > 1
    ), summed as (
      select a.item, a.account_id, a.amount, a.type, a.key, a.reference, a.metadata, a.usage,
        row_number() over so_far as nth,
        pgledger._total(a.small) over so_far as so_far,
        pgledger._total(a.small) over whole as total,
        pgledger._total(abs(a.small)) over whole as moved,
        row_number() over so_far = count(*) over whole as is_last,
        bool_and(a.type = 'USAGE') over whole as is_usage,
        bool_and(coalesce(
          a.small is not null
          and pgledger._is_plain(
            a.shortfall, a.external_id, a.ceiling_balance, a.credits_expire_at, a.priority)
          and pgledger._is_well_formed(
            a.amount, a.type, a.key, a.reference, a.metadata, a.usage)
          and (a.key is null or (a.account_id, a.key) not in (
            select r.account_id, r.key from repeated r)), false)) over whole as is_plain
      from asked a
      window so_far as (
          partition by a.account_id collate "C" order by a.item rows unbounded preceding),
        whole as (partition by a.account_id collate "C" order by a.item
          rows between unbounded preceding and unbounded following)
    )
    select row(
      s.item, s.account_id, s.amount, s.type, s.key, s.reference, s.metadata, s.usage, s.nth,
      s.so_far, s.total, s.is_last, s.is_usage, s.is_plain and s.moved = abs(s.total)
    )::pgledger._item
    from summed s);
end;
$$;

comment on function pgledger._weigh(pgledger._request[]) is
  'The movements of a batch by account, with what it asks of each. Plain are those of an account '
  'on which all of them are such as the fast path knows, none repeats a key of another, and all go '
  'one way. Private.';

revoke all on function pgledger._weigh(pgledger._request[]) from public;
