"""The commands about payments: the worker, events, payments, top-ups and reconcile."""

import json
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from pgledger import Ledger
from pgledger.commands import payments
from tests.cli_tools import Run, error, failed, interrupted, line, on_terminal, runner, started
from tests.provider import FakeProvider
from tests.support import let_pass

Db = psycopg.Connection[DictRow]
PRICED = ("--price-per-credit", "2", "--currency", "usd")
LOCAL = ("worker", "--provider", "local", *PRICED)


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(database_url, monkeypatch)


@pytest.fixture
def ledger(db: Db) -> Ledger:
    return Ledger(db)


@pytest.fixture
def stripe(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """Stripe, as the environment names it."""
    with FakeProvider() as provider:
        monkeypatch.setenv("STRIPE_API_KEY", provider.api_key)
        monkeypatch.setenv("STRIPE_API_BASE", provider.url)
        yield provider


def run_low(ledger: Ledger, account: str) -> None:
    ledger.top_up(account, 100, key="first")
    ledger.set_auto_top_up(account, 50, 500)
    ledger.spend(account, 70)


def pay(ledger: Ledger, payment_id: str, **told: Any) -> None:  # noqa: ANN401 - of record_payment
    known = {"paid": 1000, "currency": "usd", **told}
    ledger.record_payment("stripe", payment_id, "SUCCEEDED", **known)


def plain(text: str) -> str:
    """Leave out what is another in each run."""
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?", "<instant>", text)
    return re.sub(r"\b(pay|refund)_[0-9a-f]{16}\b", r"\1_x", text)


def test_a_worker_that_works_once_tells_what_it_did(run: Run, ledger: Ledger) -> None:
    assert run(*LOCAL, "--once").stdout == "nothing was due\n"
    run_low(ledger, "a")
    assert plain(run(*LOCAL, "--once").stdout) == (
        "<instant>  charged  a  key #auto-1, credits 500, money 1000 usd, payment pay_x\n"
        "charged: 1\n"
    )
    assert ledger.get_credits("a") == 530


def test_a_worker_tells_a_program_in_one_document(run: Run, ledger: Ledger) -> None:
    run_low(ledger, "a")
    told = json.loads(run(*LOCAL, "--once", "--json").stdout)
    (done,) = told["done"]
    assert told["counts"] == {"charged": 1}
    assert done.pop("at")
    assert done.pop("payment_id").startswith("pay_")
    assert done == {
        "what": "charged",
        "account_id": "a",
        "key": "#auto-1",
        "amount": 500,
        "money": {"amount": 1000, "currency": "usd"},
        "reason": None,
        "final": False,
        "error": None,
    }


def test_a_worker_shows_its_deeds_within_a_terminal(database_url: str, ledger: Ledger) -> None:
    run_low(ledger, "an-account-with-a-name-of-some-length@example.com")
    shown = on_terminal(database_url, *LOCAL, "--once")
    assert max(map(len, shown.splitlines())) <= 80
    assert "charged" in shown


def test_a_worker_goes_on_until_it_is_interrupted(database_url: str, ledger: Ledger) -> None:
    with started(database_url, *LOCAL, "--poll", "1h") as process:
        assert line(process.stderr) == (
            "charging by local: 1000 credits cost 2000 usd, in its smallest unit; Ctrl-C ends it\n"
        )
        run_low(ledger, "a")
        assert "  charged  a  " in line(process.stdout)
        assert interrupted(process) == ("stopped; charged: 1\n", "")


def test_a_worker_that_goes_on_tells_a_program_a_document_a_line(
    database_url: str, ledger: Ledger
) -> None:
    with started(database_url, *LOCAL, "--poll", "1s", "--json") as process:
        run_low(ledger, "a")
        assert json.loads(line(process.stdout))["what"] == "charged"
        out, err = interrupted(process)
        assert (json.loads(out), err) == ({"counts": {"charged": 1}, "stopped": True}, "")


def test_a_price_of_a_fraction_is_rounded_half_up(run: Run, ledger: Ledger) -> None:
    run_low(ledger, "a")
    words = ("worker", "--provider", "local", "--price-per-credit", "0.005", "--currency", "EUR")
    assert "money 3 eur" in run(*words, "--once").stdout


def test_a_charge_that_fails_is_told_and_exits_with_6(run: Run, ledger: Ledger) -> None:
    run_low(ledger, "a")
    words = ("worker", "--provider", "local", "--price-per-credit", "0.0001", "--currency", "usd")
    result = run(*words, "--once")
    assert result.exit_code == 6
    assert (
        "  failed  a  key #auto-1, credits 500, reason ValueError: amount: 0 is " in result.stdout
    )
    assert result.stdout.endswith("; will be tried again\nfailed: 1\n")
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--price-per-credit", "-1", "--currency", "usd"), "--price-per-credit"),
        (("--price-per-credit", "0", "--currency", "usd"), "0 is not above 0"),
        (("--price-per-credit", "1", "--currency", "dollars"), "'dollars' is no currency"),
        (("--price-per-credit", "1"), "Missing option '--currency'"),
        ((*PRICED, "--lease", "never"), "not a duration"),
    ],
)
def test_what_a_worker_cannot_understand_is_told(
    run: Run, words: tuple[str, ...], told: str
) -> None:
    assert told in failed(run("worker", "--provider", "local", *words), 2)


def test_a_worker_without_a_key_of_stripe_says_where_it_looks(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("worker", "--provider", "stripe", *PRICED, "--once")
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    assert "set STRIPE_API_KEY" in failed(run(*words), 2)
    monkeypatch.setenv("STRIPE_API_KEY", "sk_live_secret")
    told = failed(run(*words, "--test-mode"), 2)
    assert "test mode" in told
    assert "sk_live" not in told
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_secret")
    told = failed(run(*words), 2)
    assert told == "error: a key of test mode\nhint: give --test-mode where that is meant\n"
    monkeypatch.setenv("STRIPE_API_BASE", "http://localhost:1")
    assert "--test-mode" in failed(run(*words), 2)


def test_a_worker_without_a_database_says_so_at_once(run: Run) -> None:
    result = run(*LOCAL, "--database-url", "postgresql://nobody@localhost:1/none")
    assert "cannot connect" in failed(result, 3)


def test_events_are_listed_with_why_they_failed(run: Run, ledger: Ledger) -> None:
    assert run("events", "list").stdout == "no events of payment providers\n"
    assert json.loads(run("events", "list", "--json").stdout) == []
    ledger.record_payment_event("stripe", "evt_1", "invoice.paid", '{"name": "Ada"}')
    ledger.process_payment_event("stripe", "evt_1", [])
    ledger.record_payment_event("stripe", "evt_2", "charge.updated", "{}")
    ledger.process_payment_event("stripe", "evt_2", [{"record": "nothing"}])
    assert plain(run("events", "list").stdout).splitlines()[0].split() == (
        ["at", "(UTC)", "provider", "event", "type", "status", "error"]
    )
    shown = run("events", "list").stdout
    assert "evt_1  invoice.paid    IGNORED\n" in shown
    assert shown.endswith("1 failed; once the reason is gone: pgledger events retry\n")
    assert [row["event_id"] for row in json.loads(run("events", "list", "--json").stdout)] == [
        "evt_2",
        "evt_1",
    ]
    only = run("events", "list", "--status", "ignored", "--provider", "stripe", "-n", "1", "--json")
    assert [row["event_id"] for row in json.loads(only.stdout)] == ["evt_1"]


def test_an_event_is_shown_with_its_body_only_when_asked(run: Run, ledger: Ledger) -> None:
    ledger.record_payment_event("stripe", "evt_1", "invoice.paid", '{"name": "Ada"}')
    ledger.process_payment_event(
        "stripe",
        "evt_1",
        [{"record": "payment", "payment_id": "pi_1", "status": "PROCESSING"}],
    )
    shown = run("events", "show", "evt_1").stdout
    assert shown.startswith("evt_1 of stripe, invoice.paid: PROCESSED\n")
    assert "payment  " in shown
    assert "payment_id pi_1" in shown
    assert "Ada" not in shown + run("events", "show", "evt_1", "--json").stdout
    assert run("events", "show", "evt_1", "--payload").stdout.endswith('\n{"name": "Ada"}\n')
    told = json.loads(run("events", "show", "evt_1", "--payload", "--json").stdout)
    assert told["payload"] == '{"name": "Ada"}'
    assert error(run("events", "show", "none", "--json"), 1)["message"] == "no event none of stripe"
    assert "pgledger events list" in failed(run("events", "show", "none"), 1)


def test_events_that_failed_are_processed_again(
    run: Run, ledger: Ledger, stripe: FakeProvider
) -> None:
    assert run("events", "retry").stdout == "no event has failed\n"
    customer = stripe.customer()
    session = {"pgledger_account": "a", "pgledger_key": "order-1", "pgledger_credits": "500"}
    stripe.client().v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "usd",
            "customer": customer,
            "payment_method": stripe.card(customer),
            "confirm": True,
            "off_session": True,
            "metadata": session,
        }
    )
    (event,) = stripe.told("payment_intent.succeeded")
    ledger.record_payment_event("stripe", event["id"], event["type"], json.dumps(event))
    ledger.process_payment_event("stripe", event["id"], [{"record": "nothing"}])
    result = run("events", "retry")
    assert (result.exit_code, result.stdout) == (
        0,
        f"{event['id']}  payment_intent.succeeded  PROCESSED\n",
    )
    assert ledger.get_credits("a") == 500
    again = json.loads(run("events", "retry", event["id"], "--json").stdout)
    assert [row["status"] for row in again] == ["PROCESSED"]
    assert ledger.get_credits("a") == 500
    assert "no event none" in failed(run("events", "retry", "none"), 1)


def test_an_event_that_fails_again_exits_with_1(run: Run, ledger: Ledger) -> None:
    fact = {"record": "payment", "payment_id": "pi_1", "status": "SUCCEEDED", "paid": -1}
    ledger.record_payment_event("stripe", "evt_1", "pgledger.reconciled", json.dumps([fact]))
    ledger.process_payment_event("stripe", "evt_1", [fact])
    result = run("events", "retry")
    assert (result.exit_code, result.stdout) == (
        1,
        "evt_1  pgledger.reconciled  FAILED: invalid paid\n",
    )
    ledger.record_payment_event("other", "evt_1", "paid", "{}")
    assert "only events of stripe" in failed(
        run("events", "retry", "evt_1", "--provider", "other"), 2
    )


def test_payments_are_listed(run: Run, ledger: Ledger) -> None:
    assert run("payments", "list").stdout == "no payments\n"
    assert json.loads(run("payments", "list", "--json").stdout) == []
    pay(ledger, "pi_1", account_id="a", amount=500)
    pay(ledger, "pi_2")
    assert plain(run("payments", "list").stdout) == (
        "at (UTC)             payment  status         paid  account  credits  reason\n"
        "<instant>  pi_2     unmatched  1000 usd                    account unknown\n"
        "<instant>  pi_1     succeeded  1000 usd  a            500\n"
        "unmatched: pgledger payments match PAYMENT ACCOUNT says whose it is\n"
    )
    for words, found in (
        (("--unmatched",), ["pi_2"]),
        (("--account", "a"), ["pi_1"]),
        (("--provider", "other"), []),
        (("--since", "1h", "-n", "1"), ["pi_2"]),
        (("--until", "1h"), []),
        (("--since", "2000-01-01T00:00Z"), ["pi_2", "pi_1"]),
    ):
        told = json.loads(run("payments", "list", *words, "--json").stdout)
        assert [row["payment_id"] for row in told] == found


def test_payments_fit_a_terminal(database_url: str, ledger: Ledger) -> None:
    for number in range(3):
        pay(ledger, f"pi_3Oq8vWLkdIwHu7ix0p9Zc0Q{number}", account_id="ada@example.com", amount=500)
    shown = on_terminal(database_url, "payments", "list")
    assert max(map(len, shown.splitlines())) <= 80


def test_a_payment_is_given_to_whom_it_belongs(run: Run, ledger: Ledger, db: Db) -> None:
    pay(ledger, "pi_1")
    told = run("payments", "match", "pi_1", "a", "--amount", "500", "--actor", "me").stdout
    assert told == "credited 500 to a for pi_1\nseq 1, key #stripe-pi_1\n"
    assert run("payments", "match", "pi_1", "a", "--amount", "500").stdout == told
    refused = failed(run("payments", "match", "pi_1", "b"), 1)
    assert "idempotency conflict: pi_1 has recorded account_id a where b is given\n" in refused
    unknown = failed(run("payments", "match", "pi_9", "a"), 1)
    assert "payment not found: stripe has told of no pi_9\n" in unknown
    (row, *_) = db.execute("select act, actor from pgledger.audit_log").fetchall()
    assert row == {"act": "match_payment", "actor": "me"}


def test_a_top_up_is_announced_within_limits(run: Run) -> None:
    assert run("top-ups", "limits", "show").stdout == (
        "accounts without limits of their own: no limits\n"
    )
    told = run("top-ups", "limits", "set", "--minimum", "100", "--daily-count", "1").stdout
    assert told == (
        "accounts without limits of their own:\n  at least 100\n  at most 1 times a day\n"
    )
    shown = run("top-ups", "limits", "show", "a").stdout
    assert shown == "a, as all accounts:\n  at least 100\n  at most 1 times a day\n"
    cost = ("--price", "1000", "--currency", "usd")
    words = ("top-ups", "create", "a", "500", "--key", "order-1", *cost)
    first = run(*words).stdout
    assert re.sub("pgledger-[0-9a-f]{64}", "pgledger-x", first) == (
        "announced 500 to a for 1000 usd, in its smallest unit\n"
        "key order-1\nidempotency key pgledger-x\n"
        "once paid: pgledger enable a order-1\n"
    )
    assert run(*words).stdout == (
        f"announced before, now PENDING: this is a repeat and changed nothing\n{first}"
    )
    assert json.loads(run(*words, "--json").stdout)["replayed"] is True
    assert "top-up limit reached" in failed(run("top-ups", "create", "a", "99"), 1)
    assert json.loads(run("top-ups", "limits", "show", "a", "--json").stdout)["minimum"] == 100


def test_books_are_compared(
    run: Run, ledger: Ledger, stripe: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is younger than ten minutes is on its way, and what a test made is younger."""
    words = ("reconcile", "--since", "1d", "--test-mode")
    assert run(*words).stdout.endswith(
        "compared 0 payments, 0 refunds, 0 disputes\n\nno differences\n"
    )
    pay(ledger, "pi_unknown", account_id="a", amount=500)
    assert run(*words).exit_code == 0
    monkeypatch.setattr(payments, "ON_ITS_WAY", -payments.ON_ITS_WAY)
    result = run(*words)
    assert result.exit_code == 4
    assert "differences: 1\n" in result.stdout
    assert "payment missing at provider" in result.stdout
    told = json.loads(run(*words, "--json").stdout)
    assert (told["payments"], told["fixed"]) == (0, [])
    assert told["differences"][0]["id"] == "pi_unknown"
    stripe.api_key = "another"
    assert failed(run(*words), 6).startswith("error: stripe could not be asked: ")


def test_books_are_fixed(
    run: Run, db: Db, ledger: Ledger, stripe: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments, "ON_ITS_WAY", -payments.ON_ITS_WAY)
    customer = stripe.customer()
    run_low(ledger, "a")
    ledger.link_identifier("a", customer, kind="CUSTOMER")
    worker = ("worker", "--provider", "stripe", *PRICED, "--test-mode", "--once")
    stripe.next("drop")
    assert run(*worker).exit_code == 6
    words = ("reconcile", "--since", "1d", "--test-mode")
    result = run(*words)
    assert result.exit_code == 4
    assert result.stdout.endswith("1 of them certain: --fix records what stripe says\n")
    fixed = run(*words, "--fix")
    assert (fixed.exit_code, ledger.get_credits("a")) == (0, 530)
    assert "fixed: 1\n" in fixed.stdout
    assert fixed.stdout.endswith("no differences\n")
    let_pass(db, "1 hour")
    assert run(*worker).stdout == "nothing was due\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "Missing option '--since'"),
        (("--since", "soon"), "not an instant"),
        (("--since", "1m"), "--since is not before --until"),
        (("--since", "2030-01-01"), "no time zone"),
        (("--since", "9" * 400 + "d"), "longer than"),
    ],
)
def test_a_time_that_cannot_be_compared_is_told(
    run: Run, words: tuple[str, ...], told: str
) -> None:
    assert told in failed(run("reconcile", "--test-mode", *words), 2)
