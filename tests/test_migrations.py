"""How a database gets to this version of the ledger: from nothing, and from each earlier one."""

import re
import shutil
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tools.new_migration import (
    LOCK_TIMEOUT,
    checksum,
    dump,
    pin,
    read_sums,
    write,
)

from pgledger import migrate as module
from pgledger.migrate import (
    MigrationError,
    dry_run,
    install_script,
    known_migrations,
    manifest,
    migrate,
    migration_script,
    migrations_directory,
    pending,
    source_directory,
)

KNOWN = known_migrations()
FILES = sorted(migrations_directory().glob("*.sql"))
VERSIONS = Path(__file__).parent / "versions"

MIGRATE = """
import pathlib, sys
from pgledger.migrate import migrate
print(migrate(sys.argv[1], directory=pathlib.Path(sys.argv[2])))
"""


@contextmanager
def database(server_url: str, prefix: str = "migrations_") -> Iterator[str]:
    name = f"{prefix}{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        quoted = sql.Identifier(name).as_string()
        connection.execute(f"create database {quoted}".encode())
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            connection.execute(f"drop database {quoted} with (force)".encode())


def execute(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def set_for_the_database(url: str, setting: str) -> None:
    ((name,),) = execute(url, "select quote_ident(current_database())")
    execute(url, f"alter database {name} set {setting}")


def psql(url: str, pg_bin: Path, *arguments: str | Path, script: str | None = None) -> str:
    return subprocess.run(
        [pg_bin / "psql", "--no-psqlrc", "--quiet", f"--dbname={url}", *arguments],
        input=script,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def yoyo_url(url: str, **more: str) -> str:
    return "postgresql+psycopg:///?" + urlencode(conninfo_to_dict(url) | more)


def yoyo(
    command: str, url: str, *options: str, directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "yoyo", command, "--batch", "--no-config-file", *options),
            *("--database", url, str(directory or migrations_directory())),
        ],
        check=False,
        capture_output=True,
        text=True,
    )


def start_migrating(url: str, directory: Path) -> subprocess.Popen[str]:
    command: list[str | Path] = [sys.executable, "-c", MIGRATE, url, directory]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not come about"


@pytest.fixture(scope="session")
def fresh(server_url: str, pg_bin: Path) -> str:
    """What a database holds that was installed from the sources by psql."""
    with database(server_url) as url:
        psql(url, pg_bin, "--file", source_directory() / "install.sql")
        return dump(url, pg_bin, "--inserts")


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A copy of the migrations for a test to add to."""
    return shutil.copytree(migrations_directory(), tmp_path / "a copy [1]")


def add(history: Path, name: str, body: str) -> str:
    newest = known_migrations(history)[-1]
    migration = f"{int(newest[:4]) + 1:04d}_{name}"
    (history / f"{migration}.sql").write_text(f"-- depends: {newest}\n{body}\n")
    return migration


# The sources and the migrations agree


def install_with_a_driver(url: str, _pg_bin: Path) -> None:
    execute(url, install_script())


def install_twice(url: str, _pg_bin: Path) -> None:
    execute(url, install_script())
    execute(url, install_script())


def migrate_with_pgledger(url: str, _pg_bin: Path) -> None:
    assert migrate(url) == KNOWN


def migrate_with_psql(url: str, pg_bin: Path) -> None:
    psql(url, pg_bin, script=migration_script())
    assert pending(url) == []
    # Nor does yoyo find anything to do (U for unapplied).
    listed = yoyo("list", yoyo_url(url, schema="pgledger")).stdout
    assert re.findall(r"^([AU]) +(\S+)", listed, re.MULTILINE) == [("A", known) for known in KNOWN]


def migrate_with_yoyo(url: str, _pg_bin: Path) -> None:
    yoyo("apply", yoyo_url(url)).check_returncode()


def migrate_with_yoyo_into_the_schema(url: str, _pg_bin: Path) -> None:
    execute(url, "create schema pgledger")
    yoyo("apply", yoyo_url(url, schema="pgledger")).check_returncode()
    assert pending(url) == []


def marks(url: str) -> list[str]:
    rows = execute(url, "select migration_id from pgledger._yoyo_migration order by 1")
    return [migration for (migration,) in rows]


def adopt(url: str) -> None:
    """What is there already is marked, not run: an older migration would undo a newer one."""
    assert pending(url) == []
    assert migrate(url) == []
    assert marks(url) == KNOWN


def migrate_after_yoyo(url: str, pg_bin: Path) -> None:
    migrate_with_yoyo(url, pg_bin)
    adopt(url)


def migrate_after_an_install(url: str, pg_bin: Path) -> None:
    install_with_a_driver(url, pg_bin)
    adopt(url)


def migrate_with_psql_after_an_install(url: str, pg_bin: Path) -> None:
    install_with_a_driver(url, pg_bin)
    migrate_with_psql(url, pg_bin)


@pytest.mark.parametrize(
    "way",
    [
        install_with_a_driver,
        install_twice,
        migrate_with_pgledger,
        migrate_with_psql,
        migrate_with_yoyo,
        migrate_with_yoyo_into_the_schema,
        migrate_after_yoyo,
        migrate_after_an_install,
        migrate_with_psql_after_an_install,
    ],
)
def test_every_way_to_the_ledger_ends_in_the_same_ledger(
    way: Callable[[str, Path], None], empty_database: str, pg_bin: Path, fresh: str
) -> None:
    way(empty_database, pg_bin)
    assert dump(empty_database, pg_bin, "--inserts") == fresh


@pytest.mark.parametrize("version", KNOWN)
def test_a_ledger_of_each_version_migrates_with_all_that_is_in_it(
    version: str, empty_database: str, pg_bin: Path, server_url: str
) -> None:
    movements = """
        select account_id, seq, amount, running_balance, key, created_at
        from pgledger.transactions order by account_id, seq
    """
    balances = """
        select account_id, pgledger.get_credits(account_id)
        from (
          select account_id from pgledger.accounts
          union select account_id from pgledger.transactions
        ) as a
        order by account_id
    """
    migrate(empty_database, to=version)
    psql(empty_database, pg_bin, "--set=ON_ERROR_STOP=1", "--file", VERSIONS / f"{version}.sql")
    before = execute(empty_database, movements), execute(empty_database, balances)
    assert before[0]
    assert migrate(empty_database) == KNOWN[KNOWN.index(version) + 1 :]
    assert (execute(empty_database, movements), execute(empty_database, balances)) == before
    assert execute(empty_database, "select * from pgledger.verify()") == []
    with database(server_url) as url:
        execute(url, install_script())
        assert dump(empty_database, pg_bin, "--schema-only") == dump(url, pg_bin, "--schema-only")


def test_each_version_has_data_to_migrate() -> None:
    assert sorted(file.stem for file in VERSIONS.glob("*.sql")) == KNOWN


def test_every_source_file_is_in_the_manifest_once() -> None:
    files = sorted(file for file in source_directory().rglob("*.sql") if file.name != "install.sql")
    assert sorted(manifest()) == files


def test_the_sources_hold_no_percent_sign() -> None:
    # A driver that fills in parameters takes it for one.
    files = [*source_directory().rglob("*.sql"), *FILES]
    assert [file.name for file in files if "%" in file.read_text()] == []


# The migrations as files


def test_each_migration_depends_on_the_one_before_and_can_be_refused_a_lock() -> None:
    for migration, earlier in zip(KNOWN, ["", *KNOWN], strict=False):
        text = (migrations_directory() / f"{migration}.sql").read_text()
        assert text.split("\n")[0] == f"-- depends: {earlier}".rstrip()
        assert re.sub(r"^(--.*)?\n", "", text, flags=re.MULTILINE).startswith(LOCK_TIMEOUT)


def test_each_migration_has_a_rollback() -> None:
    rollbacks = [file.stem for file in FILES if file.stem.endswith(".rollback")]
    assert rollbacks == [f"{migration}.rollback" for migration in KNOWN]


def test_each_migration_is_pinned_and_as_it_was_released() -> None:
    # Not pinned yet: make pin. Changed: restore it, databases have run it; write a new one.
    assert read_sums(migrations_directory()) == {file.name: checksum(file) for file in FILES}


# Migrating


def test_migrating_again_changes_nothing(empty_database: str) -> None:
    assert pending(empty_database) == KNOWN
    assert migrate(empty_database) == KNOWN
    assert pending(empty_database) == []
    set_for_the_database(empty_database, "default_transaction_read_only = on")
    assert migrate(empty_database) == []


def test_asking_what_is_pending_changes_nothing(empty_database: str) -> None:
    pending(empty_database)
    dry_run(empty_database)
    assert execute(empty_database, "select from pg_namespace where nspname = 'pgledger'") == []


def test_migrating_prints_nothing(empty_database: str, capfd: pytest.CaptureFixture[str]) -> None:
    migrate(empty_database)
    assert capfd.readouterr() == ("", "")


def test_processes_that_migrate_at_once_queue_and_one_does_the_work(empty_database: str) -> None:
    waiting = """
        select count(*) = 4 from pg_locks
        where locktype = 'advisory' and not granted
          and database = (select oid from pg_database where datname = current_catalog)
    """
    with psycopg.connect(empty_database, autocommit=True) as gate:
        gate.execute(f"select {module._LOCK_SQL}".encode())  # noqa: SLF001
        processes = [start_migrating(empty_database, migrations_directory()) for _ in range(4)]
        wait_until(lambda: gate.execute(waiting).fetchone() == (True,))
    answers = sorted(process.communicate()[0].strip() for process in processes)
    assert answers == sorted([str(KNOWN), "[]", "[]", "[]"])
    assert [process.returncode for process in processes] == [0, 0, 0, 0]


def test_a_migration_whose_mark_was_lost_in_a_crash_is_marked_again(
    empty_database: str, pg_bin: Path, fresh: str
) -> None:
    for migration in KNOWN:
        assert migrate(empty_database, to=migration) == [migration]
        execute(
            empty_database,
            f"delete from pgledger._yoyo_migration where migration_id = '{migration}'",
        )
        # The first one does not say yet which it is, and runs again.
        again = [migration] if migration == "0001_ledger" else []
        assert pending(empty_database, to=migration) == again
        assert migrate(empty_database, to=migration) == again
        assert marks(empty_database) == KNOWN[: KNOWN.index(migration) + 1]
    assert dump(empty_database, pg_bin, "--inserts") == fresh


def test_each_migration_can_be_run_again(empty_database: str, pg_bin: Path, fresh: str) -> None:
    for migration in KNOWN:
        assert migrate(empty_database, to=migration) == [migration]
        file = migrations_directory() / f"{migration}.sql"
        psql(empty_database, pg_bin, "--set=ON_ERROR_STOP=1", "-1", "--file", file)
    assert dump(empty_database, pg_bin, "--inserts") == fresh


def test_the_sources_say_which_migration_they_are_at(empty_database: str) -> None:
    execute(empty_database, install_script())
    assert execute(empty_database, "select pgledger._schema_version()") == [(KNOWN[-1],)]


def test_a_process_that_is_killed_leaves_no_lock_behind(
    empty_database: str, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = add(history, "stuck", "do $$ begin perform pg_advisory_xact_lock(4711); end $$;")
    waiting = """
        select count(*) = 1 from pg_locks
        where locktype = 'advisory' and objid = 4711 and not granted
          and database = (select oid from pg_database where datname = current_catalog)
    """
    with psycopg.connect(empty_database, autocommit=True) as gate:
        gate.execute("select pg_advisory_lock(4711)")
        with start_migrating(empty_database, history) as process:
            try:
                wait_until(lambda: gate.execute(waiting).fetchone() == (True,))
                # While it is at work, a yoyo elsewhere waits.
                gate.execute("set lock_timeout = '10ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    gate.execute("insert into pgledger.yoyo_lock values (1, now(), 1)")
            finally:
                process.kill()
    monkeypatch.setattr(module, "LOCK_ROW_PATIENCE_SECONDS", 0)
    (history / f"{stuck}.sql").write_text(f"-- depends: {KNOWN[-1]}\n{LOCK_TIMEOUT}\n")
    assert migrate(empty_database, directory=history) == [stuck]


def test_a_database_that_ends_idle_transactions_does_not_end_the_one_that_holds_the_lock(
    empty_database: str, history: Path
) -> None:
    still_locked = """
        select count(*) = 1 from pg_locks
        where locktype = 'advisory' and granted
          and database = (select oid from pg_database where datname = current_catalog)
    """
    slow = add(
        history,
        "slow",
        f"do $$ begin perform pg_sleep(0.5); assert ({still_locked}), 'lost'; end $$;",
    )
    set_for_the_database(empty_database, "idle_in_transaction_session_timeout = 250")
    assert migrate(empty_database, directory=history) == [*KNOWN, slow]


def test_another_application_in_the_database_is_not_disturbed(
    empty_database: str, tmp_path: Path, pg_bin: Path, fresh: str
) -> None:
    # It uses yoyo, too, in public, and calls a migration as we do.
    (tmp_path / f"{KNOWN[0]}.sql").write_text("create table public.accounts (id int);")
    yoyo("apply", yoyo_url(empty_database), directory=tmp_path).check_returncode()
    before = execute(empty_database, "select * from public._yoyo_migration")
    assert migrate(empty_database) == KNOWN
    assert execute(empty_database, "select * from public._yoyo_migration") == before
    assert execute(empty_database, "select * from public.yoyo_lock") == []
    assert dump(empty_database, pg_bin, "--inserts") == fresh


def test_yoyo_finds_its_own_tables_as_it_makes_them(empty_database: str, pg_bin: Path) -> None:
    def tables() -> str:
        parts = ("--schema-only", "--no-owner", "--table=pgledger.*yoyo*")
        command: list[str | Path] = [pg_bin / "pg_dump", f"--dbname={empty_database}", *parts]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.MULTILINE)

    migrate(empty_database)
    ours = tables()
    execute(empty_database, "drop schema pgledger cascade; create schema pgledger")
    yoyo("apply", yoyo_url(empty_database, schema="pgledger")).check_returncode()
    assert tables() == ours


def test_a_user_without_a_name_can_migrate(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_entry(uid: int) -> None:
        raise KeyError(uid)

    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LOGNAME", "")  # so that what migrate() puts there is taken away again
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    assert migrate(empty_database) == KNOWN


# How far


def test_to_stops_at_a_migration_and_never_goes_back(empty_database: str, history: Path) -> None:
    first = add(history, "first", "create table pgledger.one ();")
    second = add(history, "second", "create table pgledger.two ();")
    assert pending(empty_database, to=first, directory=history) == [*KNOWN, first]
    assert migrate(empty_database, to=first, directory=history) == [*KNOWN, first]
    assert migrate(empty_database, to=first, directory=history) == []
    assert migrate(empty_database, to=KNOWN[0], directory=history) == []
    assert pending(empty_database, directory=history) == [second]
    assert migrate(empty_database, directory=history) == [second]


def test_an_id_that_does_not_exist_is_answered_with_those_that_do(empty_database: str) -> None:
    for ask in (migrate, pending, dry_run):
        with pytest.raises(MigrationError, match=f"no migration '0000_x'.*{KNOWN[0]}"):
            ask(empty_database, to="0000_x")
    with pytest.raises(MigrationError, match="no migration '0000_x'"):
        migration_script(since="0000_x")


def test_a_database_that_is_newer_than_the_package_is_left_alone(
    empty_database: str, history: Path
) -> None:
    newer = add(history, "newer", "create table pgledger.newer ();")
    migrate(empty_database, directory=history)
    for ask in (migrate, pending, dry_run):
        with pytest.raises(MigrationError, match=f"newer than this pgledger: it has {newer}"):
            ask(empty_database)


# What a person is told


def test_a_role_that_may_not_create_a_schema_is_told_the_grant_it_needs(
    empty_database: str, pg_bin: Path, fresh: str
) -> None:
    ((name, owner),) = execute(empty_database, "select current_database(), current_user")
    execute(empty_database, 'create role "Pay roll"')
    try:
        url = make_conninfo(empty_database, options=r"-c role=Pay\ roll")
        with pytest.raises(MigrationError) as refused:
            migrate(url)
        grant = f'grant create on database {name} to "Pay roll";'
        assert grant in str(refused.value)
        execute(empty_database, grant)
        # Nothing more than that is needed.
        assert migrate(url) == KNOWN
        assert dump(empty_database, pg_bin, "--inserts").replace('"Pay roll"', owner) == fresh
    finally:
        execute(empty_database, 'drop owned by "Pay roll" cascade; drop role "Pay roll"')


def test_a_role_that_does_not_own_the_ledger_is_told_who_does(
    empty_database: str, history: Path
) -> None:
    migrate(empty_database)
    add(history, "next", "alter table pgledger.accounts add column next int;")
    ((owner,),) = execute(empty_database, "select current_user")
    execute(empty_database, "create role pgledger_stranger")
    try:
        url = make_conninfo(empty_database, options="-c role=pgledger_stranger")
        with pytest.raises(MigrationError, match=f"belongs to role {owner}"):
            migrate(url, directory=history)
        # Nor do rights on the schema and the tables do.
        for grant in ("create, usage on schema pgledger", "all on all tables in schema pgledger"):
            execute(empty_database, f"grant {grant} to pgledger_stranger")
        with pytest.raises(MigrationError, match=f"belongs to role {owner}"):
            migrate(url, directory=history)
    finally:
        execute(empty_database, "drop owned by pgledger_stranger; drop role pgledger_stranger")


def test_a_lock_row_that_a_dead_yoyo_left_is_named_with_the_way_to_clear_it(
    empty_database: str, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(empty_database)
    added = add(history, "next", "create table pgledger.next ();")
    execute(empty_database, "insert into pgledger.yoyo_lock values (1, '2026-01-02 03:04', 4711)")
    monkeypatch.setattr(module, "LOCK_ROW_PATIENCE_SECONDS", 0)
    with pytest.raises(MigrationError, match="process 4711 since 2026-01-02 03:04:00 UTC") as held:
        migrate(empty_database, directory=history)
    execute(empty_database, str(held.value).splitlines()[-1])
    assert migrate(empty_database, directory=history) == [added]


def test_a_table_in_use_stops_a_migration_which_can_be_tried_again(
    empty_database: str, history: Path
) -> None:
    migrate(empty_database)
    added = add(
        history,
        "busy",
        "set local lock_timeout = '10ms';\nalter table pgledger.accounts add column busy int;",
    )
    with psycopg.connect(empty_database) as busy:
        busy.execute("lock table pgledger.accounts in row exclusive mode")
        with pytest.raises(MigrationError, match=f"{added} waited too long.* Try again"):
            migrate(empty_database, directory=history)
    assert migrate(empty_database, directory=history) == [added]


def test_a_migration_that_fails_is_rolled_back_and_named(
    empty_database: str, history: Path
) -> None:
    failing = add(history, "failing", "create table pgledger.half (); select 1 / 0;")
    with pytest.raises(MigrationError, match=f"{failing} failed and was rolled back: division by"):
        migrate(empty_database, directory=history)
    assert pending(empty_database, directory=history) == [failing]
    assert execute(empty_database, "select to_regclass('pgledger.half')") == [(None,)]


def test_an_old_server_is_refused(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST_SERVER", 99)
    with pytest.raises(MigrationError, match=r"runs PostgreSQL \d+; pgledger needs 99 or newer"):
        migrate(empty_database)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(MigrationError, match=r"cannot connect to the database: .*/nowhere"):
        migrate("host=/nowhere password=secret")


def test_a_url_that_cannot_be_read_is_not_quoted_for_it_may_hold_a_password() -> None:
    for url in ("mysql://me:secret@host/db", "postgresql://me:se%zzcret@host/db"):
        with pytest.raises(MigrationError, match="not one that PostgreSQL understands") as refused:
            migrate(url)
        assert "cret" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("form", ["words", "url"])
def test_any_form_of_connection_string_and_any_character_in_it_will_do(
    form: str, server_url: str
) -> None:
    weird = "we/ird 100%&?=+:@#'\"ü"
    with database(server_url, weird) as plain:
        words = conninfo_to_dict(plain) | {"password": weird}
        url = "postgresql:///?" + urlencode(words, quote_via=quote)
        assert migrate(make_conninfo("", **words) if form == "words" else url) == KNOWN


def test_a_database_that_only_the_environment_names_is_the_one_that_is_migrated(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = conninfo_to_dict(empty_database)
    monkeypatch.setenv("PGDATABASE", str(words.pop("dbname")))
    assert migrate(make_conninfo("", **words)) == KNOWN
    assert pending(empty_database) == []


# Scripts for psql


def test_a_dry_run_is_the_script_of_what_is_pending(
    empty_database: str, history: Path, pg_bin: Path
) -> None:
    migrate(empty_database)
    assert dry_run(empty_database, directory=history) == ""
    added = add(history, "next", "create table pgledger.next ();")
    script = dry_run(empty_database, directory=history)
    assert added in script
    assert KNOWN[0] not in re.sub("-- depends: .*", "", script)
    psql(empty_database, pg_bin, script=script)
    assert pending(empty_database, directory=history) == []
    assert execute(empty_database, "select to_regclass('pgledger.next') is null") == [(False,)]


def test_a_script_is_what_lies_between_two_versions(history: Path) -> None:
    one = add(history, "one", "create table pgledger.one ();")
    two = add(history, "two", "create table pgledger.two ();")
    add(history, "three", "create table pgledger.three ();")
    script = migration_script(since=one, to=two, directory=history)
    assert re.findall(r"create table (pgledger\.\w+) \(\)", script) == ["pgledger.two"]


def test_a_script_leaves_out_what_is_applied(
    empty_database: str, history: Path, pg_bin: Path
) -> None:
    migrate(empty_database)
    # It would fail if it ran twice.
    added = add(history, "once", "create table pgledger.once ();")
    script = migration_script(directory=history)
    told = psql(empty_database, pg_bin, script=script)
    assert told == "".join(f"{known} is applied already\n" for known in KNOWN) + f"{added}\n"
    # And it lets go of the lock, in case the session lives on.
    script += "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
    assert psql(empty_database, pg_bin, "--tuples-only", script=script).split()[-1] == "0"


def test_a_script_stops_at_a_migration_that_fails(
    empty_database: str, history: Path, pg_bin: Path
) -> None:
    add(history, "failing", "create table pgledger.half (); select 1 / 0;")
    add(history, "after", "create table pgledger.after ();")
    with pytest.raises(subprocess.CalledProcessError, match="returned non-zero exit status 3"):
        psql(empty_database, pg_bin, script=migration_script(directory=history))
    assert pending(empty_database, directory=history) == known_migrations(history)[-2:]
    assert execute(
        empty_database, "select to_regclass('pgledger.half'), to_regclass('pgledger.after')"
    ) == [(None, None)]


def test_a_script_queues_behind_a_migration_at_work(empty_database: str, pg_bin: Path) -> None:
    with psycopg.connect(empty_database, autocommit=True) as migrating:
        migrating.execute(f"select {module._LOCK_SQL}".encode())  # noqa: SLF001
        script = "set lock_timeout = '10ms';\n" + migration_script()
        with pytest.raises(subprocess.CalledProcessError) as stopped:
            psql(empty_database, pg_bin, script=script)
    assert "lock timeout" in stopped.value.stdout
    psql(empty_database, pg_bin, script=script)
    assert pending(empty_database) == []


# Rolling back


@pytest.mark.parametrize("movement", ["posted", "announced"])
def test_a_ledger_with_movements_is_not_rolled_back(movement: str, empty_database: str) -> None:
    migrate(empty_database)
    active = str(movement == "posted").lower()
    execute(empty_database, f"select pgledger.top_up('a', 5, 'k', is_active => {active})")
    url = yoyo_url(empty_database, schema="pgledger")
    for migration in reversed(KNOWN):
        result = yoyo("rollback", url, f"--revision={migration}")
        assert result.returncode != 0
        assert "the ledger has movements" in result.stderr
    assert pending(empty_database) == []
    assert execute(empty_database, "select * from pgledger.verify()") == []


def test_a_rollback_waits_for_a_movement_in_flight_and_then_sees_it(empty_database: str) -> None:
    migrate(empty_database)
    command = [
        *(sys.executable, "-m", "yoyo", "rollback", "--batch", "--no-config-file", "--all"),
        *("--database", yoyo_url(empty_database, schema="pgledger"), str(migrations_directory())),
    ]
    waiting = """
        select count(*) = 1 from pg_locks
        where not granted and locktype = 'relation'
          and database = (select oid from pg_database where datname = current_catalog)
    """
    with psycopg.connect(empty_database) as posting:
        posting.execute("select pgledger.top_up('a', 5, 'k')")
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: posting.execute(waiting).fetchone() == (True,))
            posting.commit()
            assert "the ledger has movements" in process.communicate()[1]
    assert execute(empty_database, "select count(*) from pgledger.transactions") == [(1,)]


@pytest.mark.parametrize("schema", [{"schema": "pgledger"}, {}], ids=["in_the_schema", "plain"])
def test_an_empty_ledger_is_rolled_back_to_nothing_and_migrated_again(
    schema: dict[str, str], empty_database: str, pg_bin: Path, fresh: str
) -> None:
    url = yoyo_url(empty_database, **schema)
    if schema:
        execute(empty_database, "create schema pgledger")
    yoyo("apply", url).check_returncode()
    yoyo("rollback", url, "--all").check_returncode()
    left = "select relname from pg_class where relnamespace = to_regnamespace('pgledger')"
    left += " and relkind = 'r' and relname not in ('yoyo_lock', '_yoyo_log', '_yoyo_version')"
    assert execute(empty_database, left) == ([("_yoyo_migration",)] if schema else [])
    types = "select typname from pg_type where typnamespace = to_regnamespace('pgledger')"
    assert execute(empty_database, types + " and typname not like '%yoyo%'") == []
    routines = "select proname from pg_proc where pronamespace = to_regnamespace('pgledger')"
    assert execute(empty_database, routines) == []
    assert migrate(empty_database) == KNOWN
    assert dump(empty_database, pg_bin, "--inserts") == fresh


# Writing the next migration


@pytest.fixture
def toy(tmp_path: Path) -> tuple[Path, Path]:
    sources, migrations = tmp_path / "sql", tmp_path / "toy_migrations"
    sources.mkdir()
    migrations.mkdir()
    files = {
        "install.sql": "-- A toy\n\\ir schema.sql\n\\ir two.sql\n\\ir one.sql\n",
        "schema.sql": "create schema if not exists pgledger;\n"
        "create table if not exists pgledger.things (a int primary key);\n",
        "one.sql": "create or replace function pgledger.one(a int) returns int\n"
        "language sql as $$ select 1 $$;\n",
        "two.sql": "create or replace function pgledger.two(a int) returns int\n"
        "language sql as $$ select 2 $$;\n"
        "comment on function pgledger.two is 'The second; of two.';\n",
    }
    for name, text in files.items():
        (sources / name).write_text(text)
    return sources, migrations


def test_the_first_migration_is_the_whole_ledger_in_order(
    toy: tuple[Path, Path], server_url: str, pg_bin: Path
) -> None:
    sources, migrations = toy
    assert write("begin", server_url, pg_bin, *toy).startswith("wrote 0001_begin")
    text = (migrations / "0001_begin.sql").read_text()
    assert text.startswith(f"-- depends:\n\n{LOCK_TIMEOUT}\n")
    places = [
        text.index((sources / f"{name}.sql").read_text()) for name in ("schema", "two", "one")
    ]
    assert places == sorted(places)
    assert write("again", server_url, pg_bin, *toy) == "nothing differs"
    assert known_migrations(migrations) == ["0001_begin"]


def test_the_next_migration_brings_over_whole_files_and_lists_the_rest(
    toy: tuple[Path, Path], server_url: str, pg_bin: Path
) -> None:
    sources, migrations = toy
    write("begin", server_url, pg_bin, *toy)
    with (sources / "schema.sql").open("a") as schema:
        schema.write("create table if not exists pgledger.more (b int);\n")
        schema.write("insert into pgledger.things values (7) on conflict (a) do nothing;\n")
    one = "create or replace function pgledger.one(a int, b int default 0) returns int\n"
    (sources / "one.sql").write_text(one + "language sql as $$ select 1 $$;\n")
    (sources / "install.sql").write_text("\\ir schema.sql\n\\ir one.sql\n")
    write("more", server_url, pg_bin, *toy)
    text = (migrations / "0002_more.sql").read_text()
    head, by_hand, rest = re.split(r"(?=-- ---- By hand)|(?=\ndrop )", text, maxsplit=2)
    assert head == f"-- depends: 0001_begin\n\n{LOCK_TIMEOUT}\n\n"
    assert "-- + CREATE TABLE pgledger.more (" in by_hand
    assert "-- + INSERT INTO pgledger.things VALUES (7);" in by_hand
    assert not [line for line in by_hand.splitlines() if line and not line.startswith("--")]
    assert re.findall("drop .*", rest) == [
        "drop function if exists pgledger.one(integer);",
        "drop function if exists pgledger.two(integer);",
    ]
    assert rest.endswith((sources / "one.sql").read_text())
    assert "schema.sql" not in rest
    # With the part by hand written, they agree.
    (migrations / "0002_more.sql").write_text(text + (sources / "schema.sql").read_text())
    assert write("again", server_url, pg_bin, *toy) == "nothing differs"


def test_a_comment_or_a_privilege_alone_brings_a_function_over(
    toy: tuple[Path, Path], server_url: str, pg_bin: Path
) -> None:
    sources, migrations = toy
    write("begin", server_url, pg_bin, *toy)
    for number, line in enumerate(
        (
            "comment on function pgledger.two is 'New.';",
            "revoke all on function pgledger.two from public;",
        )
    ):
        with (sources / "two.sql").open("a") as file:
            file.write(line + "\n")
        write("more", server_url, pg_bin, *toy)
        text = (migrations / f"{number + 2:04d}_more.sql").read_text()
        assert text.endswith((sources / "two.sql").read_text())
        assert "drop" not in text
        assert "By hand" not in text
        assert "pgledger.one" not in text


def test_a_migration_has_a_plain_name(
    toy: tuple[Path, Path], server_url: str, pg_bin: Path
) -> None:
    with pytest.raises(ValueError, match="lower_case_words"):
        write("Not so; plain", server_url, pg_bin, *toy)


def test_what_is_pinned_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("select 1;")
    assert pin(tmp_path) == "pinned: 0001_a.sql"
    subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, check=True)
    (tmp_path / "0002_b.sql").write_text("select 2;")
    assert pin(tmp_path) == "pinned: 0002_b.sql"
    (tmp_path / "0001_a.sql").write_text("select 3;")
    with pytest.raises(ValueError, match=r"changed since: 0001_a\.sql"):
        pin(tmp_path)
