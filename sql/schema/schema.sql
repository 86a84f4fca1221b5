create schema if not exists pgledger;

comment on schema pgledger is
  'A ledger for prepaid credits. Call the functions; the tables are theirs alone to write.';
