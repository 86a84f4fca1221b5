"""The commands about an account."""

import json
import re

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.cli_tools import Run, error, failed, runner


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


def test_history_says_what_a_movement_undoes_and_who_else_had_a_part_in_it(run: Run) -> None:
    run("top-up", "u1", "100", "--key", "t")
    run("top-up", "u2", "1")
    run("hold", "u1", "60", "--key", "h", "--reference", "chat")
    run("capture", "u1", "h", "25")
    run("reverse", "u1", "h", "5", "--key", "v")
    run("refund", "u1", "t", "10", "--key", "r")
    run("transfer", "u1", "u2", "30", "--key", "m")
    run("spend", "u1", "99", "--shortfall", "partial")
    rows = [line.split()[3:] for line in run("history", "u1").stdout.splitlines()]
    assert rows[:7] == [
        *(["type", "amount", "balance", "key", "reference", "note"],),
        *(["USAGE", "-40", "0", "#6", "of", "99", "asked"],),
        *(["TRANSFER", "-30", "40", "m", "to", "u2"],),
        *(["REFUND", "-10", "70", "r", "undoes", "#1"],),
        *(["REVERSAL", "5", "80", "v", "undoes", "#2"],),
        *(["USAGE", "-25", "75", "h", "chat"],),
        *(["TOP_UP", "100", "100", "t"],),
    ]
    assert "m    from u1\n" in run("history", "u2").stdout


def test_an_account_is_frozen_opened_and_closed(run: Run) -> None:
    run("top-up", "u1", "100")
    assert run("account", "u1", "--status", "frozen").stdout == "u1 is FROZEN\n"
    assert "u1 is FROZEN" in failed(run("hold", "u1", "5"), 1)
    assert json.loads(run("account", "u1", "--status", "open", "--json").stdout)["status"] == "OPEN"
    assert error(run("account", "u1", "--status", "closed", "--json"), 1)["sqlstate"] == "55000"
    assert "the ledger does not know u9" in failed(run("account", "u9", "--status", "open"), 1)
    assert "Choose from: open, frozen, closed" in failed(run("account", "u1"), 2)


def test_an_account_is_opened_before_its_first_credit(run: Run) -> None:
    assert run("open", "u1").stdout == "u1 is OPEN\n"
    opened = json.loads(run("open", "u1", "--json").stdout)
    assert (opened["account_id"], opened["currency"], opened["min_balance"]) == ("u1", "CREDIT", 0)
    assert run("open", "u2", "--min-balance", "-50").stdout == "u2 is OPEN\n"
    assert json.loads(run("balance", "u2", "--json").stdout)["min_balance"] == -50
    assert run("cap", "set", "u1", "100").exit_code == 0


def test_a_low_balance_level_is_set_shown_and_taken_away(run: Run) -> None:
    run("top-up", "u1", "100")
    assert run("low-balance", "u1").stdout == "no event tells when u1 is low\n"
    for words in (["50"], []):
        assert run("low-balance", "u1", *words).stdout == (
            "an event tells when u1 falls below 50 CREDIT\n"
        )
    assert "below -50 CREDIT" in run("low-balance", "u1", "-50").stdout
    record = json.loads(run("low-balance", "u1", "0", "--json").stdout)
    assert record["low_balance_level"] == 0
    assert run("low-balance", "u1", "--off").stdout == "no event tells when u1 is low\n"
    assert "give a level or --off" in failed(run("low-balance", "u1", "5", "--off"), 2)
    assert "'--of' is not a whole number" in failed(run("low-balance", "u1", "--of"), 2)
    for words in (["5"], []):
        assert "the ledger does not know u9" in failed(run("low-balance", "u9", *words), 1)


def test_a_low_balance_level_is_shown_in_the_accounts_currency(
    run: Run, db: psycopg.Connection[DictRow]
) -> None:
    db.execute("insert into pgledger.currencies values ('EUR', 2)")
    db.execute("select pgledger.open_account('u1', 'EUR')")
    run("low-balance", "u1", "1250")
    assert "below 12.50 EUR (1250 minor units)\n" in run("low-balance", "u1").stdout


def test_an_auto_top_up_is_set_shown_and_says_what_holds_it_back(run: Run) -> None:
    run("top-up", "u1", "100")
    assert run("auto-top-up", "show", "u1").stdout == "u1 does not top itself up\n"
    assert json.loads(run("auto-top-up", "show", "u1", "--json").stdout) is None
    words = ["auto-top-up", "set", "u1", "--threshold", "50", "--amount", "200"]
    words += ["--daily-count", "1", "--monthly-amount", "900"]
    armed = (
        "below 50 CREDIT available, u1 asks for 200 CREDIT\n"
        "at most 1 time a day\n"
        "at most 900 CREDIT a month\n"
        "now: armed\n"
    )
    assert run(*words).stdout == armed
    assert run("auto-top-up", "show", "u1").stdout == armed
    assert run("auto-top-up", "check", "u1").stdout == "nothing to do\n"
    assert json.loads(run("auto-top-up", "check", "u1", "--json").stdout) is None

    run("spend", "u1", "60")
    assert run("auto-top-up", "show", "u1").stdout.endswith(
        "now: waiting for #auto-1 to be enabled or cancelled\nthen: pgledger enable u1 '#auto-1'\n"
    )
    assert "announced 200 CREDIT to u1, before: " in run("auto-top-up", "check", "u1").stdout
    run("enable", "u1", "#auto-1")
    run("spend", "u1", "200")
    assert re.search(
        r"^now: at a limit until \d{4}-\d\d-\d\dT00:00:00Z$",
        run("auto-top-up", "show", "u1").stdout,
        re.MULTILINE,
    )
    assert run(*words, "--disabled").stdout.endswith("now: disabled\n")


def test_an_instant_top_up_is_part_of_the_answer_to_the_spend(run: Run) -> None:
    run("top-up", "u1", "100")
    words = ["--threshold", "-5", "--amount", "200", "--mode", "instant", "--json"]
    settings = json.loads(run("auto-top-up", "set", "u1", *words).stdout)
    assert (settings["threshold"], settings["mode"]) == (-5, "INSTANT")
    run("auto-top-up", "set", "u1", "--threshold", "50", "--amount", "200", "--mode", "instant")
    assert "is topped up with 200 CREDIT" in run("auto-top-up", "show", "u1").stdout
    assert run("spend", "u1", "60").stdout == (
        "spent 60 CREDIT from u1\navailable 240 CREDIT; seq 2, key #2\n"
    )


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["set", "u1", "--threshold", "5"], 2, "Missing option '--amount'"),
        (["set", "u1", "--threshold", "5", "--amount", "0"], 2, "amount '0' is not positive"),
        (["set", "u1", "--threshold", "x", "--amount", "5"], 2, "'x' is not a whole number"),
        (["set", "u1", "--threshold", str(2**63), "--amount", "5"], 2, "is not a whole number"),
        (
            ["set", "u1", "--threshold", "5", "--amount", "5", "--daily-amount", "4"],
            *(2, "A limit leaves room for one top-up"),
        ),
        (["set", "u9", "--threshold", "5", "--amount", "5"], 1, "the ledger does not know u9"),
        (["show", "u9"], 1, "the ledger does not know u9"),
        (["check", "u9"], 1, "the ledger does not know u9"),
        (["x"], 2, "No such command 'x'"),
        ([], 2, "Missing command"),
    ],
)
def test_an_auto_top_up_that_cannot_be_is_told(
    run: Run, words: list[str], code: int, told: str
) -> None:
    run("top-up", "u1", "100")
    assert told in failed(run("auto-top-up", *words), code)
    error(run("auto-top-up", *words, "--json"), code)
