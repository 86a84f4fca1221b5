-- Planned for what is asked each time: a plan for all that might be asked reads all payments to
-- find the few that are unmatched, or an account's.
create or replace function pgledger._payments_found(
  provider text,
  account_id text,
  since timestamptz,
  until timestamptz,
  unmatched boolean,
  limit_count bigint
) returns setof pgledger.payments
language plpgsql stable
set plan_cache_mode = force_custom_plan
as $$
begin
  return query
    select p.*
    from pgledger.payments p
    where (_payments_found.provider is null or p.provider = _payments_found.provider)
      and (_payments_found.account_id is null or p.account_id = _payments_found.account_id)
      and p.created_at >= _payments_found.since
      and p.created_at < _payments_found.until
      and (not _payments_found.unmatched or (p.status = 'SUCCEEDED' and p.seq is null))
    order by p.created_at desc, p.provider collate "C", p.payment_id collate "C"
    limit _payments_found.limit_count;
end;
$$;

comment on function pgledger._payments_found(
  text, text, timestamptz, timestamptz, boolean, bigint) is
  'The payments that list_payments lists, newest first. Private.';

revoke all on function pgledger._payments_found(
  text, text, timestamptz, timestamptz, boolean, bigint) from public;
