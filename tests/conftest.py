"""A server per session, a template database with the ledger in it, a clone of it for the tests.

A test gets a database with the ledger just installed: `db` is a connection to it, `connect` opens
more, `database_url` tells others where it is. By default it is a clone that was made as new after
the test before (`tests/recycling.py`). A test that looks at what only a new database tells (files,
statistics, plans) asks for `postgresql` besides: it then has a clone that nobody used before.
"""

import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor
from pytest_postgresql.janitor import DatabaseJanitor
from tools.new_migration import dump

from pgledger import embedded, migrate
from tests.crowds import Crowd, Gather, Tasks, Threads
from tests.databases import database, psql
from tests.recycling import RecycledClone

Connect = Callable[..., psycopg.Connection[DictRow]]

# A shell starts its background jobs with SIGINT ignored, and so would be each program that a test
# interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class ServerUnderTest:
    """What pytest-postgresql wants to know of a server that somebody else started."""

    host: str
    port: int
    user: str
    password: str
    options: str
    maintenance_dbname: str
    template_dbname: None = None


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The maintenance URL of PGLEDGER_TEST_DSN, or of a throw-away server of our own."""
    given = os.environ.get("PGLEDGER_TEST_DSN")
    if given:
        yield given
        return
    with embedded.throwaway_server() as server:
        yield server.url("postgres")


@pytest.fixture(scope="session")
def server(server_url: str) -> ServerUnderTest:
    given = conninfo_to_dict(server_url)
    return ServerUnderTest(
        host=str(given.get("host", "")),
        port=int(given.get("port") or 5432),
        user=str(given.get("user", "postgres")),
        password=str(given.get("password", "")),
        options=str(given.get("options", "")),
        maintenance_dbname=str(given.get("dbname", "postgres")),
    )


def install_ledger(**connection: Any) -> None:  # noqa: ANN401 - whatever the plugin's version passes
    """Load the source of truth into the template database."""
    connection.pop("autocommit", None)
    with psycopg.connect(**connection) as loading:
        loading.execute(migrate.install_script().encode())


ledger_template = factories.postgresql_noproc(
    dbname="pgledger_test", depends_on="server", load=[install_ledger]
)
postgresql = factories.postgresql("ledger_template")


@pytest.fixture(scope="session")
def recycled_clone(ledger_template: NoopExecutor, server_url: str) -> Iterator[RecycledClone]:
    """A clone for all tests that do not ask for `postgresql`."""
    name = f"{ledger_template.dbname}_recycled"
    janitor = DatabaseJanitor(
        user=ledger_template.user,
        host=ledger_template.host,
        port=ledger_template.port,
        password=ledger_template.password,
        dbname=name,
        template_dbname=ledger_template.template_dbname,
        maintenance_dbname=ledger_template.maintenance_dbname,
    )
    clone = RecycledClone(janitor, make_conninfo(server_url, dbname=name))
    yield clone
    clone.drop()


@pytest.fixture
def clone(request: pytest.FixtureRequest, server_url: str) -> Iterator[psycopg.Connection[DictRow]]:
    """A connection to the test's database, which is as new."""
    if "postgresql" in request.fixturenames:
        name = request.getfixturevalue("postgresql").info.dbname
        url = make_conninfo(server_url, dbname=name)
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            yield connection
    else:
        recycled: RecycledClone = request.getfixturevalue("recycled_clone")
        yield recycled.lend()
        recycled.take_back()


@pytest.fixture
def db(clone: psycopg.Connection[DictRow]) -> psycopg.Connection[DictRow]:
    """One autocommit connection to the test's database, rows as dicts."""
    return clone


@pytest.fixture
def database_url(clone: psycopg.Connection[DictRow], server_url: str) -> str:
    """The URL of the test's database."""
    return make_conninfo(server_url, dbname=clone.info.dbname)


@pytest.fixture
def connect(database_url: str) -> Iterator[Connect]:
    """Open connections to the test's database: autocommit unless told otherwise, rows as dicts."""
    opened: list[psycopg.Connection[DictRow]] = []

    def one_more(*, autocommit: bool = True, **settings: Any) -> psycopg.Connection[DictRow]:  # noqa: ANN401
        connection = psycopg.connect(
            make_conninfo(database_url, **settings), autocommit=autocommit, row_factory=dict_row
        )
        opened.append(connection)
        return connection

    yield one_more
    for connection in opened:
        connection.close()


@pytest.fixture(params=[Threads, Tasks])
def gather(request: pytest.FixtureRequest, database_url: str) -> Iterator[Gather]:
    """Make a batcher with its callers: threads in one run of the test, tasks in the other."""
    gathered: list[Crowd] = []

    def gather(
        url: str = database_url,
        pool: dict[str, Any] | None = None,
        **options: Any,  # noqa: ANN401 - those of batcher()
    ) -> Crowd:
        gathered.append(request.param(url, pool or {}, **options))
        return gathered[-1]

    yield gather
    for crowd in gathered:
        crowd.leave()


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    """The URL of a new, empty database."""
    name = f"pgledger_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as maintenance:
        maintenance.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    yield make_conninfo(server_url, dbname=name)
    with psycopg.connect(server_url, autocommit=True) as maintenance:
        maintenance.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def pg_bin(server_url: str) -> Path:
    """Where psql and pg_dump are; a pg_dump must be at least as new as the server it dumps."""
    with psycopg.connect(server_url) as connection:
        major = connection.info.server_version // 10_000
    debian = Path(f"/usr/lib/postgresql/{major}/bin")
    if (debian / "pg_dump").exists():
        return debian
    try:
        return embedded.binaries()
    except embedded.EmbeddedServerError:
        found = shutil.which("pg_dump")
        assert found, "the tests need pg_dump: install PostgreSQL's client programs"
        return Path(found).parent


@pytest.fixture(scope="session")
def fresh(server_url: str, pg_bin: Path) -> str:
    """What a database holds that was installed from the sources by psql."""
    with database(server_url) as url:
        psql(url, pg_bin, "--file", migrate.source_directory() / "install.sql")
        return dump(url, pg_bin, "--inserts")


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A copy of the migrations for a test to add to."""
    return shutil.copytree(migrate.migrations_directory(), tmp_path / "a copy [1]")
