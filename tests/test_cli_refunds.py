"""The commands about refund requests and about who did what by hand."""

import json
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.cli_tools import Run, error, failed, on_terminal, runner
from tests.refunds import paid_top_up


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch, db: psycopg.Connection[DictRow]) -> Run:
    """Run commands as ada, on an account u1 that bought 100 credits for 1000 cents."""
    paid_top_up(db, account_id="u1")
    monkeypatch.setenv("PGLEDGER_ACTOR", "ada")
    return runner(database_url, monkeypatch)


def test_a_refund_is_requested_listed_and_approved(run: Run, database_url: str) -> None:
    assert run("refunds", "list").stdout == "no refund requests\n"
    asked = run("refunds", "request", "u1", "paid", "40", "--key", "r 1", "--reason", "x " * 30)
    assert asked.stdout == (
        "the refund of 40 CREDIT of #1 waits for a decision, key r 1\n"
        "then: pgledger refunds approve u1 'r 1'\n"
        "or:   pgledger refunds reject u1 'r 1'\n"
    )
    listed = run("refunds", "list", "u1", "--status", "pending").stdout.splitlines()
    assert len(listed) == 2
    assert listed[1].split()[2:7] == ["u1", "r", "1", "40", "PENDING"]
    shown = on_terminal(database_url, "refunds", "list")
    assert max(map(len, shown.splitlines())) <= 80
    assert run("refunds", "approve", "u1", "r 1", "--reason", "fair").stdout == (
        "the refund of 40 CREDIT of #1 was approved by ada\n"
        "available 60 CREDIT; seq 2, key r 1\n"
        "the money: 400 usd, in its smallest unit, for a worker to give back through stripe\n"
    )
    (row,) = json.loads(run("refunds", "list", "--status", "approved", "--json").stdout)
    assert (row["decided_by"], row["money"], row["decision"]) == ("ada", 400, "fair")


def test_a_refund_is_rejected(run: Run) -> None:
    run("refunds", "request", "u1", "paid", "--key", "r")
    assert run("refunds", "reject", "u1", "r", "--actor", "bob").stdout == (
        "the refund of 100 CREDIT of #1 was rejected by bob; nothing moved, key r\n"
    )
    told = error(run("refunds", "approve", "u1", "r", "--json"), 1)
    assert (told["sqlstate"], told["details"]["status"]) == ("LG007", "REJECTED")


def test_what_is_unspent_is_approved_at_once(run: Run) -> None:
    run("top-up", "u1", "5", "--key", "gift")
    told = run("refunds", "request", "u1", "gift", "--tolerance", "0").stdout
    assert "was approved by ada" in told
    assert told.endswith("the money: no payment is known here, so give it back by hand\n")


def test_the_open_request_is_named(run: Run) -> None:
    run("refunds", "request", "u1", "paid", "--key", "r")
    told = failed(run("refunds", "request", "u1", "paid"), 1)
    assert "Decide on the open one first: pgledger refunds approve u1 r" in told


def test_requests_of_nobody_are_an_error(run: Run) -> None:
    assert "nobody" in failed(run("refunds", "list", "nobody"), 1)
    assert "nobody" in failed(run("audit", "nobody"), 1)


def test_every_command_of_an_act_tells_who_did_it(run: Run, tmp_path: Path) -> None:
    imported = tmp_path / "prices.csv"
    imported.write_text("code,unit,credits_per_unit\nm2,in,2\n")
    run("spend", "u1", "10", "--key", "s")
    run("grant", "u1", "5", "--key", "lot", "--priority", "1")
    acts = {
        ("account", "u1", "--status", "open"): "set_account_status",
        ("low-balance", "u1", "5"): "set_low_balance_level",
        ("auto-top-up", "set", "u1", "--threshold", "1", "--amount", "5"): "set_auto_top_up",
        ("refund", "u1", "paid", "1"): "refund",
        ("reverse", "u1", "s"): "reverse_transaction",
        ("revoke-lot", "u1", "lot"): "revoke_lot",
        ("plan", "create", "p", "5", "--policy", "add", "--period", "day"): "create_plan",
        ("plan", "assign", "u1", "p"): "assign_plan",
        ("plan", "clear", "u1"): "clear_plan",
        ("cap", "set", "u1", "50"): "set_spending_cap",
        ("cap", "clear", "u1"): "set_spending_cap",
        ("prices", "set", "m", "in=1"): "set_price",
        ("prices", "end", "m"): "set_price",
        ("prices", "import", str(imported)): "set_price",
    }
    for words, act in acts.items():
        done = run(*words, "--actor", "bob")
        assert done.exit_code == 0, done.output
        (entry, *_) = json.loads(run("audit", "--json").stdout)
        assert (entry["act"], entry["actor"]) == (act, "bob"), words
    assert len(json.loads(run("audit", "--actor", "bob", "--json").stdout)) == len(acts)


def test_the_audit_log_is_shown_newest_first_a_line_each(run: Run, database_url: str) -> None:
    assert run("audit").stdout == "nothing was done by hand\n"
    run("prices", "set", "m", "in=0.5")
    run("auto-top-up", "set", "u1", "--threshold", "1", "--amount", "5", "--daily-count", "3")
    newest, oldest = run("audit").stdout.splitlines()
    assert newest.endswith(
        "  set_auto_top_up  u1  by ada  mode INTENT, amount 5, enabled true, threshold 1, "
        "daily_count_limit 3"
    )
    assert oldest.endswith('  set_price  by ada  code m, prices {"in": 0.5}, rounding CEIL')
    assert max(map(len, on_terminal(database_url, "audit").splitlines())) <= 80
    page = run("audit", "--limit", "1")
    assert page.stdout.splitlines() == [newest]
    before = page.stderr.strip().removeprefix("older ones: --before ")
    assert run("audit", "--before", before).stdout.splitlines() == [oldest]
    assert run("audit", "u1", "--act", "set_price").stdout == "nothing was done by hand\n"
