"""The demonstration: it runs anywhere, again and again, and leaves nothing behind."""

import json
import os
import tempfile
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from pgledger import demo, embedded
from pgledger.cli import cli
from pgledger.client import Ledger


@pytest.fixture(scope="module")
def shown() -> str:
    result = CliRunner().invoke(cli, ["demo"])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_it_tells_the_main_job(shown: str) -> None:
    for words in (
        "top_up('alice', 1000, key => 'order-1')",
        "PENDING +500; 1000 available",
        "POSTED +500; 1500 available",
        "replayed, nothing changed; 1500 available",
        "LG001 insufficient credits: available 1000, requested 1500, missing 500",
        "POSTED -1000; 0 available",
        "report-7: -1000, chat-2: -300, chat-1: -200",
        "-> balance 1000",
        "0 disagreements",
        "pgledger up",
    ):
        assert words in shown


def test_it_fits_a_terminal(shown: str) -> None:
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_it_can_be_told_again_and_leaves_no_server_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Path(tempfile.mkdtemp(dir=embedded._roomy()))  # noqa: SLF001
    place.chmod(0o755)  # the server's user must get in
    monkeypatch.setattr(embedded, "_roomy", lambda: str(place))
    result = CliRunner().invoke(cli, ["demo", "--json"])
    told = json.loads(result.stdout)
    assert [len(step["events"]) for step in told["steps"]] == [1, 3, 3, 1, 2, 3]
    assert [row["amount"] for row in told["history"]] == [-1000, -300, -80, -120, 500, 1000]
    place.rmdir()  # which only an empty directory lets happen


def test_it_leaves_the_database_alone_that_other_commands_use(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "PGLEDGER_DATABASE_URL", database_url)
    assert CliRunner().invoke(cli, ["demo"]).exit_code == 0
    result = CliRunner().invoke(cli, ["balance", demo.ACCOUNT])
    assert "the ledger does not know alice" in result.stderr


def test_it_refuses_a_database_that_it_is_told_to_use(database_url: str) -> None:
    result = CliRunner().invoke(cli, ["demo", "--database-url", database_url])
    assert result.exit_code == 2
    assert "throw-away server" in result.stderr


def test_the_calls_it_shows_are_the_calls_it_makes(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        shown = [event for step in demo.story(Ledger(connection)) for event in step.events]
        connection.execute("set search_path = pgledger")
        for event in shown:
            if "LG001" not in event.answer:
                connection.execute(f"select {event.call}".encode())  # each a repeat, or a read
        assert connection.execute("select count(*) from history('alice')").fetchone() == (6,)
