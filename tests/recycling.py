"""A clone of the template that many tests use, one after the other, as new for each.

To clone the template, to drop the clone and to warm up a connection costs several times what most
tests do. What a test left in the tables is quickly emptied instead, and how it left its session is
quickly forgotten. A clone whose catalogs a test changed, even if it put back what it changed, is
dropped, and so is one that cannot be emptied: the next test gets a new one.
"""

from contextlib import suppress

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from pytest_postgresql.janitor import DatabaseJanitor

Connection = psycopg.Connection[DictRow]

# What DISCARD ALL does, but for the plans of functions: a connection of a pool keeps those, too.
_FORGET = """
close all; set session authorization default; reset all; deallocate all; unlisten *;
select pg_advisory_unlock_all(); discard temp; discard sequences
"""

_END_THE_OTHERS = """
select pg_terminate_backend(pid, 10000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid()
"""

# Every catalog but the statistics; of those that all databases share, the rows of this one.
_CATALOGS = """
select string_agg(format(
  'select %L as catalog, count(*) as rows, count(*) filter (where age(xmin) < age(%%(since)s::xid))'
  ' as newer from %s where %s', c.oid::regclass, c.oid::regclass,
  case c.relname
    when 'pg_database' then 'datname = current_database()'
    when 'pg_db_role_setting'
      then 'setdatabase = (select oid from pg_database where datname = current_database())'
    else 'true'
  end), ' union all ') as query
from pg_class c
where c.relnamespace = 'pg_catalog'::regnamespace and c.relkind = 'r'
  and (not c.relisshared or c.relname in ('pg_database', 'pg_db_role_setting'))
  and c.relname not like 'pg\\_statistic%'
"""

# The file of a table that was never written to, or was truncated since, is empty.
_WRITTEN = """
select c.oid::regclass::text as table from pg_class c
where c.relnamespace = 'pgledger'::regnamespace and c.relkind = 'r' and pg_relation_size(c.oid) > 0
"""

_GUARDS = """
select format('alter table %s disable trigger %I;', tgrelid::regclass, tgname) as disarm,
  format('alter table %s enable always trigger %I;', tgrelid::regclass, tgname) as arm
from pg_trigger
where tgenabled = 'A'
"""


class RecycledClone:
    """Lends its database to one test at a time."""

    def __init__(self, janitor: DatabaseJanitor, url: str) -> None:
        self._janitor = janitor
        self._url = url
        self._connection: Connection | None = None

    def lend(self) -> Connection:
        """Return an autocommit connection to a database that is as new."""
        if self._connection is None:
            self._janitor.drop()
            self._janitor.init()
            self._connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row)
            self._look_at_it_new(self._connection)
        return self._connection

    def take_back(self) -> None:
        """Make the database as new, or drop it."""
        if self._connection is not None and not self._made_new(self._connection):
            self.drop()

    def drop(self) -> None:
        """Drop the database, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._janitor.drop()

    def _look_at_it_new(self, connection: Connection) -> None:
        ((self._query,),) = (row.values() for row in connection.execute(_CATALOGS))
        self._guards = connection.execute(_GUARDS).fetchall()
        self._filled = _written(connection)
        self._contents = self._what_it_came_with(connection)
        self._since = _now(connection)
        self._catalogs = self._what_changed(connection)

    def _what_it_came_with(self, connection: Connection) -> list[list[DictRow]]:
        return [
            connection.execute(f"select x::text from {table} x order by 1".encode()).fetchall()
            for table in sorted(self._filled)
        ]

    def _what_changed(self, connection: Connection) -> list[DictRow]:
        return connection.execute(self._query, {"since": self._since}).fetchall()

    def _made_new(self, connection: Connection) -> bool:
        if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            return False
        with suppress(psycopg.Error):
            connection.execute(_FORGET)
            connection.execute(_END_THE_OTHERS)
            if self._what_changed(connection) == self._catalogs:
                self._empty(connection, _written(connection) - self._filled)
                self._since = _now(connection)
                return self._what_it_came_with(connection) == self._contents
        return False

    def _empty(self, connection: Connection, tables: set[str]) -> None:
        if tables:
            disarm = " ".join(guard["disarm"] for guard in self._guards)
            arm = " ".join(guard["arm"] for guard in self._guards)
            truncate = f"truncate {', '.join(tables)} cascade"
            connection.execute(f"begin; {disarm} {truncate}; {arm} commit".encode())


def _written(connection: Connection) -> set[str]:
    return {row["table"] for row in connection.execute(_WRITTEN)}


def _now(connection: Connection) -> str:
    ((now,),) = (
        row.values() for row in connection.execute("select pg_current_xact_id()::xid::text")
    )
    return str(now)
