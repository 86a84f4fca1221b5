"""A recycled database is as new, whatever the test before did with it."""

from contextlib import suppress

import psycopg
import pytest

from tests.recycling import Connection, RecycledClone
from tests.support import everything

TRACES = {
    "rows": "select pgledger.top_up('a', 5)",
    "a row beside those installed": "insert into pgledger.currencies values ('EUR', 2)",
    "no row": "delete from pgledger.currencies",
    "a setting": "set search_path = nowhere; set lock_timeout = 1",
    "a setting of the database": "do $$ begin execute format("
    "'alter database %I set lock_timeout = 1', current_database()); end $$",
    "a role": "set session authorization pg_monitor",
    "a lock": "select pg_advisory_lock(1)",
    "a temporary table": "create temp table x ()",
    "a table": "create table x ()",
    "a trigger put back": "alter table pgledger.accounts disable trigger all;"
    " alter table pgledger.accounts enable trigger all",
    "a dropped function": "drop function pgledger.get_credits",
    "a right": "grant select on pgledger.accounts to public",
    "a comment": "comment on table pgledger.accounts is 'no comment'",
    "a transaction": "begin; select pgledger.top_up('a', 5)",
    "a transaction that failed": "begin; select pgledger.top_up('a', -5)",
    "no connection": "select pg_terminate_backend(pg_backend_pid())",
}

STATE = """
select current_setting('search_path') as path, current_setting('lock_timeout') as timeout,
  session_user, (select count(*) from pg_locks where locktype = 'advisory') as locks,
  (select count(*) from pg_class) as relations, (select count(*) from pg_proc) as functions,
  (select string_agg(relacl::text, '' order by oid) from pg_class) as rights,
  (select string_agg(tgenabled::text, '' order by tgname) from pg_trigger) as triggers,
  obj_description('pgledger.accounts'::regclass) as comment
"""


def state(connection: Connection) -> list[object]:
    return [*connection.execute(STATE), *everything(connection)]


@pytest.mark.parametrize("trace", TRACES.values(), ids=TRACES.keys())
def test_what_a_test_leaves_is_not_there_for_the_next(
    recycled_clone: RecycledClone, trace: str
) -> None:
    recycled_clone.drop()
    as_new = state(recycled_clone.lend())
    with suppress(psycopg.Error):
        recycled_clone.lend().execute(trace.encode())
    recycled_clone.take_back()
    assert state(recycled_clone.lend()) == as_new


def test_a_database_that_was_only_written_to_is_used_again(recycled_clone: RecycledClone) -> None:
    before = recycled_clone.lend()
    before.execute("select pgledger.top_up('a', 5)")
    recycled_clone.take_back()
    assert recycled_clone.lend() is before


def test_who_is_still_there_is_sent_away(recycled_clone: RecycledClone) -> None:
    before = recycled_clone.lend()
    with psycopg.connect(before.info.dsn) as other:
        other.execute("select pgledger.top_up('a', 5)")
        recycled_clone.take_back()
        with pytest.raises(psycopg.OperationalError):
            other.execute("select 1")
    assert recycled_clone.lend() is before
