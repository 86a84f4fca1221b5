"""A thousand payments through chaos: every one is credited once, and nobody is charged twice.

The provider's answers get lost, its messages come twice, late, in any order or never, and whoever
works on them is killed again and again by `kill -9`: the workers, and the webhook endpoint. By
default it is a smaller chaos; `make chaos` is the whole.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Self

import psycopg
import pytest
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from pgledger import Ledger
from pgledger.payments import Report, reconcile
from pgledger.stripe import CheckoutUnavailableError, StripeCheckout, StripeProvider
from tests.cli_tools import ENVIRONMENT
from tests.postman import Postman, to
from tests.provider import FakeProvider, Trouble
from tests.provider_http import Request

Db = psycopg.Connection[DictRow]
PAYMENTS = int(os.environ.get("PGLEDGER_PAYMENTS", "80"))
SEED = int(os.environ.get("PGLEDGER_SEED", str(random.SystemRandom().randrange(10**6))))
DEADLINE_SECONDS = 120 + PAYMENTS
# Somebody is killed at every so many requests and deliveries: who is back has time for some.
KILLS_EVERY = 20 + PAYMENTS // 20
WORKERS = 2
# Of how many events nobody ever hears: they are for reconcile to find.
NEVER_TOLD = 0.05
# Of a customer's cards, and of payers at a checkout.
SLOW = 0.1
CHECKOUT, AUTO = 100, 500


class Phoenix:
    """A process that is killed, and there again."""

    def __init__(self, *words: str, **environment: str) -> None:
        self.deaths = 0
        self._words = words
        self._environment = {**ENVIRONMENT, **environment}
        self._lock = threading.Lock()
        self._over = False
        self._process = self._rise()

    def _rise(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *self._words],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def kill(self) -> None:
        with self._lock:
            if self._over:
                return
            self._end()
            self.deaths += 1
            self._process = self._rise()

    def end(self) -> None:
        with self._lock:
            self._over = True
            self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


class Chaos:
    """The whole of it, from beginning to end."""

    def __init__(self, database_url: str, provider: FakeProvider, pool: ConnectionPool) -> None:
        self.provider = provider
        self.ledger = Ledger(pool)
        self.chance = random.Random(SEED)  # noqa: S311 - a test that can be run again
        self._url = database_url
        self._stack = ExitStack()
        self._never_told: dict[str, bool] = {}
        self._lock = threading.Lock()
        self._turns = 0

    def __enter__(self) -> Self:
        url = {"PGLEDGER_DATABASE_URL": self._url}
        stripe = {"STRIPE_API_KEY": self.provider.api_key, "STRIPE_API_BASE": self.provider.url}
        endpoint = ("tests.endpoint", self._url, self.provider.secret)
        first = Phoenix(*endpoint, "0")
        self.port = first.line().strip()
        first.end()
        self.endpoint = Phoenix(*endpoint, self.port)
        worker = ("pgledger", "worker", "--provider", "stripe", "--test-mode", "--json")
        price = ("--price-per-credit", "2", "--currency", "usd", "--lease", "1s", "--poll", "1s")
        self.workers = [Phoenix(*worker, *price, **url, **stripe) for _ in range(WORKERS)]
        for process in (self.endpoint, *self.workers):
            self._stack.callback(process.end)
        self.postman = self._stack.enter_context(
            Postman(self.provider, self.send, seed=SEED, threads=4)
        )
        self.provider.trouble = self.trouble
        return self

    def __exit__(self, *_: object) -> None:
        self.provider.trouble = None
        self._stack.close()

    def trouble(self, request: Request) -> Trouble:
        """Decide what goes wrong with a request."""
        self.perhaps_kill()
        with self._lock:
            kind = self.chance.choices([None, "down", "limit", "drop", "error"], [80, 4, 4, 8, 4])[
                0
            ]
        # A checkout that was opened with an error keeps that for a day: nobody can pay it.
        return "drop" if kind == "error" and request.path.endswith("/sessions") else kind

    def send(self, body: bytes, signature: str) -> int:
        """Deliver what the provider tells, but for what nobody is ever told."""
        with self._lock:
            # The id is near the beginning, and the same whenever the event is sent again.
            event = body[:200].decode()
            never = self._never_told.setdefault(event, self.chance.random() < NEVER_TOLD)
        if never:
            return 200
        try:
            status = to(f"http://127.0.0.1:{self.port}/")(body, signature)
        except OSError:
            time.sleep(0.05)  # for whoever is to rise again: two processors are few
            raise
        # Other deliveries are under way; those to nobody do not count, or nobody would live.
        self.perhaps_kill()
        return status

    def perhaps_kill(self) -> None:
        with self._lock:
            self._turns += 1
            dies = self._turns % KILLS_EVERY == 0
            victim = self.chance.choice([self.endpoint, *self.workers])
        if dies:
            victim.kill()

    # What payers do.

    def buy(self, account: str, key: str) -> None:
        """Buy at a checkout, however often that takes."""
        checkout = StripeCheckout(self.ledger, self.asked())
        while True:
            try:
                checkout.create_top_up(
                    account,
                    CHECKOUT,
                    key=key,
                    price=2 * CHECKOUT,
                    currency="usd",
                    success_url="https://shop.example/done",
                )
                break
            except CheckoutUnavailableError:
                continue
        (session,) = [
            found["id"]
            for found in list(self.provider.objects.values())
            if found["object"] == "checkout.session" and found["metadata"]["pgledger_key"] == key
        ]
        if self.draw() < SLOW:
            self.provider.pay(session, "card_declined")
        slow = self.draw() < SLOW
        payment = self.provider.pay(session, "processing" if slow else "succeeds")
        if slow:
            self.provider.settle(payment)

    def run_low(self, account: str) -> None:
        """Fall below the threshold, which asks a worker for a charge."""
        card = "processing" if self.draw() < SLOW else "succeeds"
        self.ledger.top_up(account, 100, key="first")
        self.ledger.link_identifier(account, self.provider.customer(card), kind="CUSTOMER")
        self.ledger.set_auto_top_up(account, 50, AUTO)
        self.ledger.spend(account, 70, key="spent")

    def draw(self) -> float:
        with self._lock:
            return self.chance.random()

    def asked(self) -> StripeProvider:
        return StripeProvider(self.provider.client(), test_mode=True)

    def compare(self, *, fix: bool = False) -> Report:
        now, an_hour = datetime.now(UTC), timedelta(hours=1)
        return reconcile(
            self.ledger, self.asked(), since=now - 24 * an_hour, until=now + an_hour, fix=fix
        )

    def settle(self) -> None:
        """Let the banks come to an end with what is in process."""
        for found in list(self.provider.objects.values()):
            if found["object"] == "payment_intent" and found["status"] == "processing":
                self.provider.settle(found["id"])


def hurry(db: Db) -> None:
    """Let what was put off for a while be due now: the pauses are tested elsewhere."""
    db.execute(
        "update pgledger.charges set due_at = clock_timestamp()"
        " where due_at > clock_timestamp() + interval '2 seconds'"
    )


@pytest.fixture
def chaos(database_url: str) -> Iterator[Chaos]:
    with (
        FakeProvider() as provider,
        ConnectionPool(database_url, min_size=1, max_size=8) as pool,
        Chaos(database_url, provider, pool) as chaos,
    ):
        yield chaos


def test_every_payment_is_credited_once_and_nothing_is_charged_twice(
    db: Db, chaos: Chaos, capsys: pytest.CaptureFixture[str]
) -> None:
    bought = [(f"a{number % 9}", f"order-{number}") for number in range(PAYMENTS // 2)]
    low = [f"b{number}" for number in range(PAYMENTS - len(bought))]

    def shop(part: int) -> None:
        for account, key in bought[part::2]:
            chaos.buy(account, key)

    shoppers = [threading.Thread(target=shop, args=(part,)) for part in range(2)]
    for thread in shoppers:
        thread.start()
    for account in low:
        chaos.run_low(account)
    for thread in shoppers:
        thread.join()

    expected = {*bought, *((account, "#auto-1") for account in low)}
    until = time.monotonic() + DEADLINE_SECONDS
    while set(chaos.provider.charged()) != expected or open_charges(db):
        assert time.monotonic() < until, f"seed {SEED}: not done in time"
        chaos.settle()
        hurry(db)
        time.sleep(0.05)  # nothing is won by it: two processors are for the others
    chaos.postman.drain(DEADLINE_SECONDS)

    deaths = [process.deaths for process in (chaos.endpoint, *chaos.workers)]
    with capsys.disabled():
        print(f"seed {SEED}, deaths {deaths}, answers {dict(chaos.postman.statuses)}")  # noqa: T201
    assert sum(deaths) > 0

    # What nobody was ever told of is what reconcile finds; after that there is nothing.
    fixed = chaos.compare(fix=True)
    assert fixed.differences == []
    report = chaos.compare()
    assert (report.payments, report.differences) == (PAYMENTS, [])

    assert chaos.provider.charged() == dict.fromkeys(expected, 1)
    credited = db.execute(
        "select account_id, key, external_id, amount from pgledger.transactions"
        " where type = 'TOP_UP' and external_id is not null"
    ).fetchall()
    paid_by = {found["id"]: found["metadata"] for found in chaos.provider.succeeded()}
    assert {row["external_id"] for row in credited} == set(paid_by)
    assert {(row["account_id"], row["key"]) for row in credited} == expected
    assert len(credited) == PAYMENTS
    times = Counter(account for account, _ in bought)
    for account, count in times.items():
        assert chaos.ledger.get_credits(account) == count * CHECKOUT
    assert all(chaos.ledger.get_credits(account) == 30 + AUTO for account in low)
    assert chaos.ledger.verify() == []
    told_twice = Counter(
        (event.account_id, event.payload["payment_id"])
        for event in chaos.ledger.list_events(limit_count=10_000)
        if event.kind == "top_up_paid"
    )
    assert set(told_twice.values()) == {1}


def open_charges(db: Db) -> int:
    (row,) = db.execute("select count(*) from pgledger.charges where due_at is not null").fetchall()
    return int(row["count"])
