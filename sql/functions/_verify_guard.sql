create or replace function pgledger._verify_guard()
returns table (rule text, expected text, found text)
language sql stable
begin atomic
  select 'the journal is guarded', 'enabled always', coalesce(g.state, 'no trigger')
  from (
    select max(case t.tgenabled
      when 'A' then 'enabled always' when 'D' then 'disabled' else 'enabled in part' end) as state
    from pg_catalog.pg_trigger t
    where t.tgrelid = 'pgledger.transactions'::regclass
      and t.tgname = 'transactions_append_only'
  ) g
  where g.state is distinct from 'enabled always';
end;

comment on function pgledger._verify_guard() is
  'Whether the append-only guard of the journal is missing or off. Private.';

revoke all on function pgledger._verify_guard() from public;
