"""Bring a database to this package's version of the ledger.

``sql/`` says what the ledger is; ``migrations/`` says how a database gets there. The migrations are
plain SQL files that yoyo applies, so a DBA may run them with ``yoyo apply``, with psql (see
:func:`migration_script`) or with ``pgledger migrate``, and gets the same schema each time.

yoyo's own tables live inside the schema ``pgledger``: an application that uses yoyo for itself is
not disturbed, nobody needs the right to create tables in ``public``, and every id found there is
ours.

Migrating keeps state in a session (a lock), so it needs a connection to the server itself, not one
through a pooler in transaction mode.
"""

import getpass
import glob
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

OLDEST_SERVER = 14
# How long to wait for a yoyo that is at work elsewhere; as long as yoyo itself waits for another.
LOCK_ROW_PATIENCE_SECONDS = 10.0

_LOCK_SQL = "pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended('pgledger.migrate', 0))"
_CLEAR_LOCK_ROW_SQL = "delete from pgledger.yoyo_lock;"
_UNLOCK_SQL = _LOCK_SQL.replace("pg_advisory_lock", "pg_advisory_unlock")

# yoyo's tables as yoyo makes them (its schema version 2), which a test holds. They are made here
# because yoyo cannot make the schema they live in, and because a script for psql has to record what
# it did. "create schema if not exists" asks for the right to create it even where it exists.
_BOOKKEEPING_SQL = """\
do $$
begin
  if pg_catalog.to_regnamespace('pgledger') is null then
    create schema pgledger;
  end if;
end
$$;
create table if not exists pgledger.yoyo_lock (
  locked integer default 1 not null primary key,
  ctime timestamp,
  pid integer not null
);
create table if not exists pgledger._yoyo_log (
  id varchar(36) not null primary key,
  migration_hash varchar(64),
  migration_id varchar(255),
  operation varchar(10),
  username varchar(255),
  hostname varchar(255),
  comment varchar(255),
  created_at_utc timestamp
);
create table if not exists pgledger._yoyo_version (
  version integer not null primary key,
  installed_at_utc timestamp
);
create table if not exists pgledger._yoyo_migration (
  migration_hash varchar(64) not null primary key,
  migration_id varchar(255),
  applied_at_utc timestamp
);
insert into pgledger._yoyo_version (version, installed_at_utc)
values (2, pg_catalog.timezone('utc', pg_catalog.now()))
on conflict (version) do nothing;
"""

# The migration a database is at, as it says itself; null where it is older than that. To run an
# older migration over it would put old functions back, or fail over what they do not know.
_VERSION_SQL = """\
(
  select pg_catalog.substring(p.prosrc, '[0-9]{4}_[0-9a-z_]+')
  from pg_catalog.pg_proc as p
  where p.oid = pg_catalog.to_regprocedure('pgledger._schema_version()')
)"""

_MARK_SQL = """\
insert into pgledger._yoyo_migration (migration_hash, migration_id, applied_at_utc)
values (
  pg_catalog.encode(pg_catalog.sha256('{id}'), 'hex'),
  '{id}',
  pg_catalog.timezone('utc', pg_catalog.now())
)
on conflict (migration_hash) do nothing;
"""

_MIGRATION_SQL = """
select exists (
  select from pgledger._yoyo_migration where migration_id = '{id}'
) or coalesce({version} >= '{id}', false) as pgledger_applied \\gset
\\if :pgledger_applied
\\echo {id} is applied already
{mark}\\else
\\echo {id}
begin;
{body}
{mark}commit;
\\endif
"""


class MigrationError(Exception):
    """A migration could not be done. The message says what happened and what to do about it."""


def source_directory() -> Path:
    """Return the directory of the ledger's SQL: ``install.sql``, ``schema/`` and ``functions/``."""
    return _shipped("sql")


def migrations_directory() -> Path:
    """Return the directory of the migrations."""
    return _shipped("migrations")


def manifest(directory: Path | None = None) -> list[Path]:
    r"""Return the files that ``install.sql`` includes (its ``\ir`` lines), in order."""
    directory = directory or source_directory()
    lines = (directory / "install.sql").read_text(encoding="utf-8").splitlines()
    return [directory / line.split()[1] for line in lines if line.startswith("\\ir ")]


def install_script(directory: Path | None = None) -> str:
    """Return the whole ledger as one script, for a driver that takes many statements at once."""
    return "\n".join(file.read_text(encoding="utf-8") for file in manifest(directory))


def known_migrations(directory: Path | None = None) -> list[str]:
    """Return the ids of the migrations this package has, oldest first."""
    files = (directory or migrations_directory()).glob("*.sql")
    return sorted(file.stem for file in files if not file.stem.endswith(".rollback"))


def pending(
    database_url: str, *, to: str | None = None, directory: Path | None = None
) -> list[str]:
    """Return the ids of the migrations that :func:`migrate` would apply. Changes nothing.

    Raises :class:`MigrationError` as :func:`migrate` does.
    """
    wanted = _through(known_migrations(directory), to)
    with _session(database_url) as session, _words(session):
        return _unapplied(session, known_migrations(directory), wanted)[0]


def migrate(
    database_url: str, *, to: str | None = None, directory: Path | None = None
) -> list[str]:
    """Apply the pending migrations, all or up to and including ``to``, and return their ids.

    ``database_url`` is anything libpq understands: a URL or ``key=value`` words. A repeat, or a
    ``to`` that the database is past, changes nothing and returns an empty list: the ledger only
    goes forward. Each migration is a transaction of its own. Several processes may migrate one
    database at once: they queue. A process that dies half way leaves nothing behind that needs
    clearing up; the next one carries on. What is in the database already without a mark, because it
    came by ``install.sql`` or another yoyo, is only marked.

    Raises :class:`MigrationError`.
    """
    known = known_migrations(directory)
    wanted = _through(known, to)
    with _session(database_url) as session, _words(session):
        session.execute(f"select {_LOCK_SQL}")
        ids, unmarked = _unapplied(session, known, wanted)
        if ids or unmarked:
            session.execute(_BOOKKEEPING_SQL)
            for migration in unmarked:
                session.execute(_MARK_SQL.format(id=migration).encode())
        if ids:
            _apply(session, database_url, directory or migrations_directory(), ids)
        return ids


def migration_script(
    *, since: str | None = None, to: str | None = None, directory: Path | None = None
) -> str:
    r"""Return the migrations after ``since`` up to and including ``to`` as one script for psql.

    It does what :func:`migrate` does, for a DBA who wants to read first: each migration is a
    transaction of its own, is recorded where :func:`migrate` looks, and is left out where it is
    recorded already, so the script may be run again. It holds psql's backslash commands and
    therefore does not run through a driver; there, run the files of ``migrations/`` one by one,
    each in a transaction.

    Raises :class:`MigrationError` for an id that is not known.
    """
    known = known_migrations(directory)
    earlier = _through(known, since) if since else []
    return _script(
        [migration for migration in _through(known, to) if migration not in earlier], directory
    )


def dry_run(database_url: str, *, to: str | None = None, directory: Path | None = None) -> str:
    """Return what :func:`migrate` would do as a script for psql; empty when there is nothing to do.

    Raises :class:`MigrationError` as :func:`migrate` does. Changes nothing.
    """
    ids = pending(database_url, to=to, directory=directory)
    return _script(ids, directory) if ids else ""


def _shipped(name: str) -> Path:
    """Find a directory that a wheel carries inside the package and a checkout has at its root."""
    package = Path(__file__).resolve().parent
    for directory in (package / name, package.parents[1] / name):
        if directory.is_dir():
            return directory
    raise MigrationError(f"this installation of pgledger lacks its {name}/ directory: reinstall it")


def _through(known: Sequence[str], last: str | None) -> list[str]:
    """Return the known migrations up to and including ``last``."""
    if last is None:
        return list(known)
    if last not in known:
        raise MigrationError(f"there is no migration {last!r}; there are: {', '.join(known)}")
    return list(known[: known.index(last) + 1])


def _unapplied(
    session: psycopg.Connection[Any], known: Sequence[str], wanted: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return which of the wanted are to be applied, and which are there without a mark."""
    marked: set[str] = set()
    if session.execute("select to_regclass('pgledger._yoyo_migration')").fetchone() != (None,):
        rows = session.execute("select migration_id from pgledger._yoyo_migration")
        marked = {migration for (migration,) in rows}
    versions = {version for (version,) in session.execute(f"select {_VERSION_SQL}".encode())}
    if newer := sorted((marked | versions) - {None, *known}):
        raise MigrationError(
            f"the database is newer than this pgledger: it has {', '.join(newer)}, and the newest "
            f"migration known here is {known[-1] if known else 'none'}. Install the newer pgledger."
        )
    there = _through(known, version) if (version := versions.pop()) else []
    unapplied = [migration for migration in wanted if migration not in {*marked, *there}]
    return unapplied, [migration for migration in there if migration not in marked]


def _script(ids: Sequence[str], directory: Path | None) -> str:
    directory = directory or migrations_directory()
    parts = [
        "-- pgledger: migrations for psql, e.g. psql --file=migrations.sql --dbname=...\n",
        "-- Each is a transaction of its own; one that is recorded as applied is left out.\n\n",
        "\\set ON_ERROR_STOP on\n",
        "set client_min_messages = warning;\n",
        f"do $$ begin perform {_LOCK_SQL}; end $$;\n",
        _BOOKKEEPING_SQL,
    ]
    for migration in ids:
        body = (directory / f"{migration}.sql").read_text(encoding="utf-8")
        mark = _MARK_SQL.format(id=migration)
        parts.append(
            _MIGRATION_SQL.format(id=migration, version=_VERSION_SQL, body=body, mark=mark)
        )
    parts.append(f"\ndo $$ begin perform {_UNLOCK_SQL}; end $$;\nreset client_min_messages;\n")
    return "".join(parts)


def _apply(
    session: psycopg.Connection[Any], database_url: str, directory: Path, ids: Sequence[str]
) -> None:
    try:
        import yoyo  # noqa: PLC0415 - only migrating needs it; the rest works without the extra
    except ImportError as error:
        raise MigrationError("migrating needs yoyo: pip install 'pgledger[cli]'") from error
    _give_the_user_a_name()
    migrations = {m.id: m for m in yoyo.read_migrations(glob.escape(str(directory)))}
    with yoyo.get_backend(_yoyo_url(session, database_url)) as backend:
        # Where a newer yoyo wants other tables it takes its lock row to change them: before we do.
        backend.ensure_internal_schema_updated()
        with _lock_row(session):
            for migration in ids:
                try:
                    backend.apply_one(migrations[migration])
                except (
                    psycopg.errors.LockNotAvailable,
                    psycopg.errors.DeadlockDetected,
                ) as error:
                    raise MigrationError(
                        f"{migration} waited too long for a table of the ledger that another "
                        "session is using, and was rolled back. Try again, when less is going on."
                    ) from error
                except psycopg.errors.InsufficientPrivilege:
                    raise
                except psycopg.Error as error:
                    raise MigrationError(
                        f"{migration} failed and was rolled back: {error}"
                    ) from error


@contextmanager
def _lock_row(session: psycopg.Connection[Any]) -> Iterator[None]:
    """Hold the row by which yoyo keeps other yoyos out, in a transaction that never commits.

    A ``yoyo apply`` started meanwhile waits for our transaction to end, and when this process dies
    the row goes with it. A row that is there belongs to a yoyo at work or was left by one that
    died: nothing tells the two apart, so it is not ours to remove.
    """
    deadline = time.monotonic() + LOCK_ROW_PATIENCE_SECONDS
    with session.transaction(force_rollback=True):
        session.execute("set local idle_in_transaction_session_timeout = 0")
        while not session.execute(
            "insert into pgledger.yoyo_lock (locked, ctime, pid)"
            " values (1, timezone('utc', now()), %s) on conflict (locked) do nothing",
            [os.getpid()],
        ).rowcount:
            if time.monotonic() > deadline:
                raise _locked(session)
            time.sleep(0.2)
        yield


def _locked(session: psycopg.Connection[Any]) -> MigrationError:
    row = session.execute("select pid, ctime from pgledger.yoyo_lock").fetchone()
    who = f"process {row[0]} since {row[1]} UTC" if row else "another process"
    return MigrationError(
        f"yoyo's migration lock is held by {who} (the process id on the machine it ran on). If no "
        "yoyo is at work on this database, one died and left its row behind: clear it, then "
        f"migrate again:\n  {_CLEAR_LOCK_ROW_SQL}"
    )


def _give_the_user_a_name() -> None:
    """Let yoyo write its log where the user has none, as in a container with an arbitrary uid."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())


def _parameters(database_url: str) -> dict[str, Any]:
    try:
        parameters = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:
        # Without the cause: it quotes the URL, and a URL may hold a password.
        raise MigrationError(
            "the database URL is not one that PostgreSQL understands; it looks like "
            "postgresql://user:password@host:5432/database, and a special character in the "
            "password is written as percent and two digits"
        ) from None
    return {"connect_timeout": "10", "fallback_application_name": "pgledger migrate"} | parameters


def _yoyo_url(session: psycopg.Connection[Any], database_url: str) -> str:
    """Return the URL for yoyo, which hands every word of the query to psycopg as it is."""
    # Its own idea of a database that is not named leaves out PGDATABASE.
    ours = {"dbname": session.info.dbname, "schema": "pgledger"}
    return "postgresql+psycopg:///?" + urlencode(_parameters(database_url) | ours)


@contextmanager
def _session(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        session = psycopg.connect(**_parameters(database_url), autocommit=True)
    except psycopg.OperationalError as error:
        raise MigrationError(f"cannot connect to the database: {error}") from error
    with session:
        version = session.info.server_version // 10000
        if version < OLDEST_SERVER:
            raise MigrationError(
                f"the server runs PostgreSQL {version}; pgledger needs {OLDEST_SERVER} or newer"
            )
        yield session


@contextmanager
def _words(session: psycopg.Connection[Any]) -> Iterator[None]:
    """Turn what the database says no to into words about what to do."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise MigrationError(_not_allowed(session, error)) from error
    except psycopg.Error as error:
        raise MigrationError(f"the database refused: {error}") from error


def _not_allowed(session: psycopg.Connection[Any], error: psycopg.Error) -> str:
    # The names as they have to be written in SQL.
    role, database, owner = session.execute(
        "select quote_ident(current_user), quote_ident(current_database()),"
        " (select quote_ident(pg_get_userbyid(nspowner)) from pg_namespace"
        "  where nspname = 'pgledger')"
    ).fetchone() or (None, None, None)
    if owner in {None, role}:
        return (
            f"role {role} may not create a schema in database {database}. Its owner can allow it:\n"
            f"  grant create on database {database} to {role};"
        )
    return (
        f"role {role} may not change the ledger in database {database}: {error}\n"
        f"The schema pgledger belongs to role {owner}: migrate as that role."
    )
