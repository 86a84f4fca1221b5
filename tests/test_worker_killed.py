"""Workers that die by `kill -9` at a point that a test forces: the next one finds and finishes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.rows import DictRow

from pgledger import Ledger
from tests.cli_tools import ENVIRONMENT
from tests.provider import FakeProvider
from tests.provider_http import Json
from tests.sessions import Connect
from tests.support import let_pass

Db = psycopg.Connection[DictRow]
WORKER = [sys.executable, "-m", "pgledger", "worker", "--provider", "stripe", "--test-mode"]
WORKER += ["--price-per-credit", "2", "--currency", "usd"]


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


class Workers:
    """Worker processes on one database and one provider."""

    def __init__(self, database_url: str, provider: FakeProvider) -> None:
        self._environment = {
            **ENVIRONMENT,
            "PGLEDGER_DATABASE_URL": database_url,
            "STRIPE_API_KEY": provider.api_key,
            "STRIPE_API_BASE": provider.url,
        }

    @contextmanager
    def start(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [*WORKER, *words],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def once(self) -> str:
        """Let a worker do what is due, and return what it said in the end."""
        with self.start("--once") as process:
            out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        return out.splitlines()[-1]


@pytest.fixture
def workers(database_url: str, provider: FakeProvider) -> Workers:
    return Workers(database_url, provider)


@pytest.fixture
def low(db: Db, provider: FakeProvider) -> str:
    """An account with a card, which asks for 500 and has 30 left."""
    ledger = Ledger(db)
    ledger.top_up("a", 100, key="first")
    ledger.link_identifier("a", provider.customer(), kind="CUSTOMER")
    ledger.set_auto_top_up("a", 50, 500)
    ledger.spend("a", 70)
    return "a"


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL


def is_sound(db: Db, provider: FakeProvider, account: str) -> None:
    """Require that the account was charged once, credited once, and that all books agree."""
    assert provider.charged() == {(account, "#auto-1"): 1}
    ledger = Ledger(db)
    assert ledger.get_credits(account) == 530
    assert [(row.amount, row.status) for row in ledger.list_payments()] == [(500, "SUCCEEDED")]
    assert ledger.verify() == []


forgetful = pytest.mark.parametrize("forgets", [False, True], ids=["", "and keys forgotten"])


@forgetful
def test_a_worker_killed_while_the_provider_is_about_to_charge(
    db: Db, provider: FakeProvider, workers: Workers, low: str, *, forgets: bool
) -> None:
    with provider.held() as arrived, workers.start() as process:
        arrived()
        kill(process)
    while not provider.succeeded():
        pass
    finish(db, provider, workers, forgets=forgets)
    is_sound(db, provider, low)


@forgetful
def test_a_worker_killed_after_the_charge_before_the_answer(
    db: Db, provider: FakeProvider, workers: Workers, low: str, *, forgets: bool
) -> None:
    with workers.start() as process:

        def kill_when_charged(event: Json) -> None:
            if event["type"] == "payment_intent.succeeded":
                kill(process)

        provider.listener = kill_when_charged
        assert process.wait(60) == -signal.SIGKILL
    assert provider.charged() == {(low, "#auto-1"): 1}
    assert Ledger(db).get_credits(low) == 30
    finish(db, provider, workers, forgets=forgets)
    is_sound(db, provider, low)


def finish(db: Db, provider: FakeProvider, workers: Workers, *, forgets: bool) -> None:
    """Let the next worker come: before the lease is over in vain."""
    if forgets:
        provider.forget_keys()
    assert workers.once() == "nothing was due"
    let_pass(db, "5 minutes")
    assert workers.once() == "charged: 1"
    assert workers.once() == "nothing was due"


def crediting(db: Db) -> list[int]:
    """Return the sessions that are about to credit, and wait for somebody's lock."""
    rows = db.execute(
        "select pid from pg_stat_activity where datname = current_database()"
        " and query like '%%record_payment%%' and wait_event_type = 'Lock'"
    ).fetchall()
    return [row["pid"] for row in rows]


@pytest.mark.parametrize("commits", [False, True], ids=["before the commit", "at the commit"])
@forgetful
def test_a_worker_killed_while_it_credits(
    db: Db,
    connect: Connect,
    provider: FakeProvider,
    workers: Workers,
    low: str,
    *,
    commits: bool,
    forgets: bool,
) -> None:
    other = connect(autocommit=False)
    other.execute("select from pgledger.balances where account_id = 'a' for update")
    with workers.start() as process:
        while not (crediting_now := crediting(db)):
            assert process.poll() is None
        kill(process)
    if not commits:
        for pid in crediting_now:
            db.execute("select pg_terminate_backend(%s, 60000)", [pid])
    other.rollback()
    if commits:
        while Ledger(db).get_credits(low) == 30:
            pass
        let_pass(db, "5 minutes")
        assert workers.once() == "nothing was due"
    else:
        assert Ledger(db).get_credits(low) == 30
        finish(db, provider, workers, forgets=forgets)
    is_sound(db, provider, low)


def test_a_worker_killed_while_another_waits_to_take_over(
    db: Db, provider: FakeProvider, workers: Workers, low: str
) -> None:
    """The lease is over while the first request still runs: the second must not charge again."""
    with provider.held() as arrived, workers.start() as process:
        arrived()
        let_pass(db, "5 minutes")
        with workers.start("--once") as second:
            out, _ = second.communicate(timeout=60)
        assert (second.returncode, "unavailable: 1" in out) == (6, True)
        kill(process)
    while not provider.succeeded():
        pass
    let_pass(db, "1 hour")
    assert workers.once() == "charged: 1"
    is_sound(db, provider, low)


def test_the_event_of_the_payment_comes_before_the_next_worker(
    db: Db, provider: FakeProvider, workers: Workers, low: str
) -> None:
    with workers.start() as process:

        def kill_when_charged(event: Json) -> None:
            if event["type"] == "payment_intent.succeeded":
                kill(process)

        provider.listener = kill_when_charged
        process.wait(60)
    (intent,) = provider.succeeded()
    Ledger(db).record_payment(
        "stripe",
        intent["id"],
        "SUCCEEDED",
        account_id=low,
        key="#auto-1",
        paid=intent["amount"],
        currency="usd",
    )
    let_pass(db, "5 minutes")
    assert workers.once() == "nothing was due"
    is_sound(db, provider, low)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_asked_to_end_settles_what_is_under_way(
    db: Db, provider: FakeProvider, workers: Workers, low: str, number: int
) -> None:
    with workers.start() as process:
        with provider.held() as arrived:
            arrived()
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.endswith("stopped; charged: 1\n")
    assert "Ctrl-C ends it" in err
    assert "Traceback" not in err
    is_sound(db, provider, low)


def test_a_worker_killed_after_the_refund_before_the_answer(
    db: Db, provider: FakeProvider, workers: Workers, low: str
) -> None:
    ledger = Ledger(db)
    assert workers.once() == "charged: 1"
    ledger.request_refund(low, "#auto-1", amount=400, key="please")
    ledger.approve_refund(low, "please")
    with workers.start() as process:

        def kill_when_refunded(event: Json) -> None:
            if event["type"] == "refund.created":
                kill(process)

        provider.listener = kill_when_refunded
        assert process.wait(60) == -signal.SIGKILL
    provider.forget_keys()
    assert workers.once() == "nothing was due"
    let_pass(db, "5 minutes")
    assert workers.once() == "refunded: 1"
    assert workers.once() == "nothing was due"
    (payment,) = ledger.list_payments()
    assert (payment.refunded, payment.taken) == (800, 400)
    assert len(provider.told("refund.created")) == 1
    assert ledger.get_credits(low) == 130
    assert ledger.verify() == []
