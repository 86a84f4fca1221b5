-- The day as the plan counts it: where clocks skip midnight two periods can begin on one date.
create or replace function pgledger._refill_key(
  plan pgledger.plans, anchor timestamptz, number bigint
) returns text
language sql stable
begin atomic
  select '#refill-' || (plan).code || '-' || to_char(
    pgledger._period_local(
      (plan).period, (plan).time_zone, _refill_key.anchor, _refill_key.number),
    'YYYY-MM-DD');
end;

comment on function pgledger._refill_key(pgledger.plans, timestamptz, bigint) is
  'The key of the refill of a plan''s numbered period, by which it is granted once. Private.';

revoke all on function pgledger._refill_key(pgledger.plans, timestamptz, bigint) from public;
