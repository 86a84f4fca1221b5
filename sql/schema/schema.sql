-- CREATE SCHEMA IF NOT EXISTS asks for the right to create schemas even where this one exists, and
-- an administrator may have made it for a role without that right.
do $$
begin
  if to_regnamespace('pgledger') is null then
    create schema pgledger;
  end if;
end;
$$;

comment on schema pgledger is
  'A ledger for prepaid credits. Call the functions; the tables are theirs alone to write.';
