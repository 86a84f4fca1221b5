create or replace function pgledger._claim_run(
  account_id text, first_seq bigint, limit_count bigint, visible_at timestamptz
) returns setof pgledger.events
language plpgsql
as $$
#variable_conflict use_column
declare
  v_last bigint;
begin
  select max(r.seq) into strict v_last
  from (
    select e.seq
    from pgledger.events e
    where e.account_id = _claim_run.account_id and e.acked_at is null
      and e.seq >= _claim_run.first_seq
    order by e.seq
    limit _claim_run.limit_count
  ) r;

  return query
    with claimed as (
      update pgledger.events e
      set visible_at = _claim_run.visible_at, deliveries = e.deliveries + 1
      where e.account_id = _claim_run.account_id and e.acked_at is null
        and e.seq between _claim_run.first_seq and v_last
      returning e.*
    )
    select c.* from claimed c order by c.seq;
end;
$$;

comment on function pgledger._claim_run(text, bigint, bigint, timestamptz) is
  'Hands out an account''s events from its first on, in order. Only under the lock of that event. '
  'Private.';

revoke all on function pgledger._claim_run(text, bigint, bigint, timestamptz) from public;
