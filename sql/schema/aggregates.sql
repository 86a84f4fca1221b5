-- sum(bigint) counts in numeric, for which a batch would take a tenth longer.
create or replace aggregate pgledger._total(amount bigint) (
  sfunc = int8pl,
  stype = bigint,
  initcond = '0',
  parallel = safe
);

comment on aggregate pgledger._total(bigint) is
  'The sum in bigint, 0 of nothing. The caller has seen to it that it fits. Private.';

revoke all on function pgledger._total(bigint) from public;
