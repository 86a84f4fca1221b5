-- Written by tools/new_migration.py. In the database itself, in the transaction of the migration,
-- so that it is true also where the marks of migrations are elsewhere or lost.
create or replace function pgledger._schema_version() returns text
language sql immutable parallel safe
as $$ select '0005_payments' $$;

comment on function pgledger._schema_version() is
  'The newest migration that is in this database. Private.';

revoke all on function pgledger._schema_version() from public;
