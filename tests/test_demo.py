"""The demonstration: it runs anywhere, again and again, and leaves nothing behind."""

import json
import os
import re
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
        "LG001 insufficient credits: available 920, requested 1500, missing 580",
        "POSTED -920; 0 available",
        "report-8: -920, report-7: -700, chat-2: -480, chat-1: -200",
        "-> balance 1000",
        "0 disagreements",
        "pgledger up",
    ):
        assert words in shown


def test_it_holds_an_estimate_and_captures_the_real_cost(shown: str) -> None:
    held = shown.index("balance 1000, held 400, available 600")
    captured = shown.index("POSTED -180; 820 available")
    assert held < captured < shown.index("balance 820, held 0, available 820")


def test_a_spend_asks_for_a_top_up_which_is_collected(shown: str) -> None:
    assert "-> top_up_requested: key #auto-1, amount 800, available 120" in shown
    assert "POSTED +800; 920 available" in shown


def test_a_chargeback_leaves_a_debt_and_a_top_up_clears_it(shown: str) -> None:
    debt = shown.index("balance -500, held 0, available -500")
    assert "LG001 insufficient credits: available -500, requested 10, missing 510" in shown
    assert "undoes #2" in shown
    assert debt < shown.index("POSTED +800; 300 available") < shown.index("POSTED -10; 290")


def test_a_trial_is_spent_first_and_what_remains_of_it_goes_in_time(shown: str) -> None:
    granted = shown.index("POSTED +100; 390 available")
    paid = shown.index("-> 30 from trial-1: ")
    gone = shown.index("-> 290 available")
    assert granted < paid < gone < shown.index("POSTED -20; 270 available")
    assert re.search(r"^ +\d+  EXPIRY +-70 ", shown, re.MULTILINE)


def test_a_plan_grants_an_allowance_that_ends_with_its_month(shown: str) -> None:
    assert "create_plan('pro', 300, period => '1 month', policy => 'RESET')" in shown
    assigned = shown.index("assign_plan('alice', plan => 'pro')")
    assert assigned < shown.index("POSTED -50; 520 available")
    assert re.search(r"#refill-pro-\d{4}-\d\d-01$", shown, re.MULTILINE)
    assert "pool 270" in shown


def test_it_prices_usage_and_tells_how_the_amount_was_made(shown: str) -> None:
    sold = shown.index("set_price('gpt-large', '{\"input_token\": 0.015, \"output_token\": 0.12}')")
    spent = shown.index("POSTED -60; 440 available")
    reckoned = shown.index(
        "-> 1200 input_token x 0.015 = 18; 345 output_token x 0.12 = 41.4; 59.4,"
    )
    assert sold < spent < reckoned < shown.index("rounded up to 60")


def test_it_charges_a_stream_for_what_was_delivered(shown: str) -> None:
    whole = shown.index("POSTED -96; 344 available")
    cut_off = shown.index("POSTED -36; 308 available")
    expired = shown.index("-> LG007 transaction not pending: status EXPIRED")
    assert whole < cut_off < shown.index("-> 308 available") < expired


def test_what_a_stream_costs_above_its_hold_is_a_spend_of_its_own(shown: str) -> None:
    refused = shown.index("LG001 insufficient credits: available 170, requested 240, missing 70")
    taken = shown.index("POSTED -138; 0 available")
    assert refused < taken
    assert re.search(r"^ +6  USAGE +-170 +0  #excess-5  of 240 asked$", shown, re.MULTILINE)


def test_a_payment_is_credited_once_however_often_it_is_told(shown: str) -> None:
    credited = shown.index("-> SUCCEEDED: POSTED +1000; 1000 available")
    assert credited < shown.index("-> SUCCEEDED: told before, nothing changed; 1000 available")


def test_a_worker_charges_a_card_and_backs_off_when_it_is_declined(shown: str) -> None:
    said = " ".join(shown.split())
    charged = said.index("-> charged #auto-1: 500 credits for 450 cents; 600 available")
    declined = said.index("-> declined #auto-2: 500 credits, card_declined; again in an hour; 150")
    assert charged < declined


def test_a_refund_is_approved_and_a_dispute_won(shown: str) -> None:
    approved = shown.index("-> APPROVED: 100 credits, 90 cents")
    refunded = shown.index("-> refunded refund-1: 100 credits for 90 cents; 50 available")
    frozen = shown.index("-> 450 cents disputed; carol is FROZEN")
    refused = shown.index("-> LG004 account not open: ")
    assert approved < refunded < frozen < refused < shown.index("carol is OPEN")


def test_a_batch_refuses_only_who_has_too_little_and_repeats_nothing(shown: str) -> None:
    said = " ".join(shown.split())
    refused = "user-2: LG001 insufficient credits: available 20, requested 25, missing 5"
    posted = said.index(f"299 POSTED, 1 REFUSED; {refused}")
    assert said.index("300 POSTED") < posted < said.index(f"299 REPLAYED, 1 REFUSED; {refused}")


def test_it_measures_many_tasks_on_the_spot(shown: str) -> None:
    said = " ".join(shown.split())
    assert re.search(r"1024 POSTED, \d+\.\d times as many a second \(this machine, just now,", said)
    assert "-> 2952 available" in said


def test_it_shows_the_end_of_the_journal_after_each_step_of_one_account(shown: str) -> None:
    steps = re.findall(r"^(\d+)\. ", shown, re.MULTILINE)
    assert steps == [str(number) for number in range(1, 28)]
    assert shown.count("   seq  type ") == len(steps) - 3


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
    assert [len(step["deeds"]) for step in told["steps"]] == [
        *(1, 3, 3, 1, 1, 2, 4, 1, 2, 2, 2),
        *(3, 2, 3, 4, 2, 2, 3, 3),
        *(3, 3, 2, 2, 4),
        *(3, 4, 4),
    ]
    assert [row["amount"] for row in told["history"][:6]] == [-50, 300, -20, -70, -30, 100]
    assert told["steps"][4]["balance"]["held"] == 400
    assert told["steps"][13]["history"] == told["history"][:3]
    assert [len(step["history"]) for step in told["steps"][-3:]] == [0, 0, 0]
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
        story = demo.story(Ledger(connection), database_url)
        shown = [deed for step in story for deed in step.deeds]
        connection.execute("set search_path = pgledger")
        journals = "select history(account_id) from accounts order by account_id"
        journal = connection.execute(journals).fetchall()
        for deed in shown:
            if "LG0" not in deed.answer and "..." not in deed.call:
                connection.execute(f"select {deed.call}".encode())  # each a repeat, or a read
        assert connection.execute(journals).fetchall() == journal
