"""Migrating: twice, at once, killed, refused; and what a person is told."""

import re
import subprocess
import traceback
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tools.new_migration import (
    LOCK_TIMEOUT,
    dump,
)

from pgledger import migrate as module
from pgledger.migrate import (
    MigrationError,
    dry_run,
    install_script,
    migrate,
    migration_script,
    migrations_directory,
    pending,
)
from tests.databases import (
    KNOWN,
    add,
    database,
    execute,
    marks,
    psql,
    set_for_the_database,
    start_migrating,
    wait_until,
    yoyo,
    yoyo_url,
)

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


def test_a_posting_in_flight_is_waited_for_and_not_deadlocked(empty_database: str) -> None:
    migrate(empty_database, to=KNOWN[0])
    execute(empty_database, "select pgledger.top_up('a', 100)")
    waiting = """
        select count(*) = 1 from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'
    """
    with psycopg.connect(empty_database) as posting:
        posting.execute("select pgledger.spend('a', 1)")
        process = start_migrating(empty_database, migrations_directory())
        wait_until(lambda: execute(empty_database, waiting) == [(True,)])
        # This reads the settings of the account, which no fast spend does.
        posting.execute("select pgledger.top_up('a', 5, external_id => 'pi_1')")
    assert process.communicate()[0].strip() == str(KNOWN[1:])
    assert execute(empty_database, "select pgledger.get_credits('a')") == [(104,)]
