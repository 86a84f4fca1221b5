-- The ledger only goes forward: what has been posted stays. Only an empty ledger is rolled back.
set local lock_timeout = '2s';
do $$
begin
  if pg_catalog.to_regclass('pgledger.transactions') is null then
    return;
  end if;
  lock table pgledger.transactions, pgledger.pending_transactions in access exclusive mode;
  if exists (select from pgledger.transactions)
     or exists (select from pgledger.pending_transactions) then
    raise exception using
      errcode = 'object_not_in_prerequisite_state',
      message = 'the ledger has movements: 0001_ledger is not rolled back',
      hint = 'The ledger only goes forward: write a new migration.';
  end if;
  execute (
    select 'drop table ' || string_agg(c.oid::regclass::text, ', ') || ' cascade'
    from pg_catalog.pg_class as c
    where c.relnamespace = 'pgledger'::regnamespace and c.relkind = 'r' and c.relname !~ '^_?yoyo_'
  );
  execute (
    select 'drop routine ' || string_agg(p.oid::regprocedure::text, ', ') || ' cascade'
    from pg_catalog.pg_proc as p
    where p.pronamespace = 'pgledger'::regnamespace
  );
  execute (
    select 'drop type ' || string_agg(t.oid::regtype::text, ', ') || ' cascade'
    from pg_catalog.pg_type as t
    left join pg_catalog.pg_class as c on c.oid = t.typrelid
    where t.typnamespace = 'pgledger'::regnamespace
      and (t.typtype in ('d', 'e') or c.relkind = 'c')
  );
  if not exists (select from pg_class as c where c.relnamespace = 'pgledger'::regnamespace) then
    drop schema pgledger;
  end if;
end
$$;
