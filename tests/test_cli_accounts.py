"""The commands about an account."""

import json
import re

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.cli_tools import Run, runner


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


def test_a_balance_is_aligned(run: Run) -> None:
    run("top-up", "u1", "1200")
    assert run("balance", "u1").stdout == (
        "u1 is OPEN\n"
        "balance    1200  CREDIT\n"
        "held          0  CREDIT\n"
        "available  1200  CREDIT\n"
    )  # fmt: skip


def test_a_currency_with_decimals_is_shown_with_them_and_in_minor_units(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    db.execute("insert into pgledger.currencies values ('EUR', 2)")
    db.execute("select pgledger.open_account('u1', 'EUR', min_balance => -50)")
    assert run("top-up", "u1", "1250").stdout.startswith(
        "credited 12.50 EUR (1250 minor units) to u1\n"
    )
    run("spend", "u1", "1255")
    assert "balance      -0.05  EUR   -5  minor units\n" in run("balance", "u1").stdout
    assert "min_balance  -0.50  EUR  -50  minor units\n" in run("balance", "u1").stdout
    history = run("history", "u1").stdout
    assert "  -12.55    -0.05  " in history
    assert "amounts in EUR; 1 minor unit is 0.01\n" in history
    assert json.loads(run("balance", "u1", "--json").stdout)["balance"] == -5


def test_history_is_newest_first_with_whole_keys_and_numbers_in_a_pipe(run: Run) -> None:
    key = "k" * 255
    run("top-up", "u1", str(2**63 - 1))
    run("spend", "u1", "5", "--key", key, "--reference", "[red]chat:smile:")
    lines = run("history", "u1").stdout.splitlines()
    assert lines[0].split() == [
        "seq",
        "at",
        "(UTC)",
        "type",
        "amount",
        "balance",
        "key",
        "reference",
    ]
    assert lines[1].split()[0] == "2"
    assert lines[1].split()[3:] == ["USAGE", "-5", str(2**63 - 6), key, "[red]chat:smile:"]
    assert lines[2].split()[3:] == ["TOP_UP", str(2**63 - 1), str(2**63 - 1), "#1"]
    assert lines[3:] == ["amounts in CREDIT"]


def test_history_goes_on_page_by_page(run: Run) -> None:
    for amount in range(1, 6):
        run("top-up", "u1", str(amount))
    result = run("history", "u1", "--limit", "2")
    assert result.stderr == "older ones: --before-seq 4\n"
    older = json.loads(run("history", "u1", "--limit", "2", "--before-seq", "4", "--json").stdout)
    assert [row["seq"] for row in older] == [3, 2]
    assert run("history", "u1", "--before-seq", "1").stdout == "no transactions\n"
    assert json.loads(run("history", "u1", "--type", "usage", "--json").stdout) == []


def test_verify_tells_a_disagreement_and_exits_with_4(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    run("top-up", "u1", "8")
    assert run("verify").stdout == "no disagreements in the ledger\n"
    assert run("verify", "u1").stdout == "no disagreements in u1\n"
    assert json.loads(run("verify", "--json").stdout) == []
    db.execute("update pgledger.balances set balance = 9")
    result = run("verify")
    assert (result.exit_code, result.stderr) == (4, "")
    assert re.search(r"^u1 .* 8 +9$", result.stdout, re.MULTILINE)
    result = run("verify", "u1", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)[0]["account_id"] == "u1"


def test_what_would_steer_a_terminal_is_shown_as_an_escape(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    db.execute(
        "insert into pgledger.transactions (account_id, seq, amount, running_balance, created_at,"
        " type, key) values ('u1', 1, 5, 5, now(), 'TOP_UP', E'a\\x1b[31mb')"
    )
    assert r"a\x1b[31mb" in run("history", "u1").stdout
