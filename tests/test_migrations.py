"""The migrations lead to what sql/ says, from every version and by every way, and back never."""

import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tools.new_migration import (
    LOCK_TIMEOUT,
    checksum,
    dump,
    read_sums,
)

from pgledger import migrate as module
from pgledger.migrate import (
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
from tests.databases import (
    FILES,
    KNOWN,
    VERSIONS,
    add,
    database,
    execute,
    marks,
    psql,
    wait_until,
    yoyo,
    yoyo_url,
)

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


@pytest.fixture
def support(server_url: str) -> Iterator[str]:
    """A role, gone again at the end; the databases in which it is granted something go before."""
    role = f"support_{uuid.uuid4().hex[:8]}"
    execute(server_url, f"create role {role}")
    yield role
    execute(server_url, f"drop role {role}")


@pytest.mark.parametrize("times", [1, 2])
def test_who_may_call_a_function_may_call_what_takes_its_place(
    times: int, support: str, server_url: str, pg_bin: Path
) -> None:
    granted = f"""
        select p.proname::text, has_function_privilege('{support}', p.oid, 'execute'),
          has_function_privilege('{support}', p.oid, 'execute with grant option')
        from pg_proc p
        where p.pronamespace = 'pgledger'::regnamespace
          and (p.proname in ('get_balance', 'get_credits', 'top_up') or p.proname like '\\_refill%')
        order by 1
    """
    with database(server_url) as url:
        migrate(url, to=KNOWN[1])
        execute(url, f"grant execute on function pgledger.get_balance to {support}")
        execute(url, f"grant execute on function pgledger.top_up to {support} with grant option")
        for _ in range(times):
            for migration in KNOWN[2:]:
                psql(url, pg_bin, "--file", migrations_directory() / f"{migration}.sql")
        assert [tuple(row) for row in execute(url, granted)] == [
            ("_refill_key", False, False),
            ("_refills_due", False, False),
            ("get_balance", True, False),
            ("get_credits", False, False),
            ("top_up", True, True),
        ]


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
