"""The worker: what is due is charged once and credited once, whoever is killed where."""

import select
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from queue import Queue
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from pgledger import Charge, Ledger, calls
from pgledger.payments import (
    Charger,
    Declined,
    Done,
    Fact,
    LocalProvider,
    Money,
    Outcome,
    ProviderUnavailableError,
    RefundOrder,
    RefundRefusedError,
    TopUpWorker,
)
from pgledger.payments.waiting import Waiting
from tests.support import let_pass

Db = psycopg.Connection[DictRow]
SECONDS = 30


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool]:
    with ConnectionPool(database_url, min_size=1, max_size=10, timeout=SECONDS) as pool:
        yield pool


@pytest.fixture
def ledger(pool: ConnectionPool) -> Ledger:
    return Ledger(pool)


@pytest.fixture
def provider() -> LocalProvider:
    return LocalProvider()


def cents(charge: Charge) -> Money:
    return Money(2 * charge.amount, "usd")


def run_low(ledger: Ledger, *accounts: str) -> None:
    """Let accounts fall below their threshold: each asks for 500 and has 30 left."""
    for account in accounts:
        ledger.top_up(account, 100, key="first")
        ledger.set_auto_top_up(account, 50, 500)
        ledger.spend(account, 70)


def kinds(ledger: Ledger, account: str) -> list[tuple[str, Any]]:
    """Return what the outbox told of an account, oldest first, and whether that was final."""
    return [
        (event.kind, event.payload.get("final")) for event in reversed(ledger.list_events(account))
    ]


def test_a_top_up_that_is_due_is_charged_at_its_price_and_credited_once(
    ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    told: list[Done] = []
    worker = TopUpWorker(ledger, provider, price=cents, tell=told.append)
    assert worker.run_once() == {"charged": 1}
    (done,) = told
    assert (done.what, done.account_id, done.key, done.amount) == ("charged", "a", "#auto-1", 500)
    assert done.money == Money(1000, "usd")
    assert ledger.get_credits("a") == 530
    assert worker.run_once() == {}
    assert provider.charged() == {"a": [Money(1000, "usd")]}
    (payment,) = ledger.list_payments()
    assert (payment.payment_id, payment.status) == (done.payment_id, "SUCCEEDED")
    assert (payment.paid, payment.paid_currency, payment.amount) == (1000, "usd", 500)
    assert kinds(ledger, "a") == [("top_up_requested", None), ("top_up_paid", None)]
    assert ledger.verify() == []


def test_the_next_one_is_asked_for_and_charged_again(
    ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    worker = TopUpWorker(ledger, provider, price=cents)
    worker.run_once()
    ledger.spend("a", 500)
    assert worker.run_once() == {"charged": 1}
    assert provider.charged() == {"a": [Money(1000, "usd")] * 2}


def test_a_declined_card_is_tried_after_1_6_and_24_hours_and_then_no_more(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    provider.decline("a", "insufficient_funds")
    told: list[Done] = []
    worker = TopUpWorker(ledger, provider, price=cents, tell=told.append)
    for pause in ("1 hour", "6 hours", "24 hours"):
        assert worker.run_once() == {"declined": 1}
        assert not told[-1].final
        let_pass(db, f"{pause} - 1 minute")
        assert worker.run_once() == {}
        let_pass(db, "1 minute")
    assert worker.run_once() == {"declined": 1}
    assert (told[-1].final, told[-1].reason) == (True, "insufficient_funds")
    let_pass(db, "1 year")
    assert worker.run_once() == {}
    settings = ledger.get_auto_top_up("a")
    assert settings
    assert not settings.enabled
    failures = [("top_up_failed", False)] * 3 + [("top_up_failed", True)]
    assert kinds(ledger, "a") == [("top_up_requested", None), *failures]
    assert len({done.payment_id for done in told}) == 4


def test_a_card_that_works_again_is_charged_once(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    provider.decline("a")
    worker = TopUpWorker(ledger, provider, price=cents)
    worker.run_once()
    provider.accept("a")
    assert worker.run_once() == {}
    let_pass(db, "1 hour")
    assert worker.run_once() == {"charged": 1}
    assert provider.charged() == {"a": [Money(1000, "usd")]}
    assert ledger.get_credits("a") == 530


def test_who_has_no_card_is_not_tried_again(ledger: Ledger, provider: LocalProvider) -> None:
    run_low(ledger, "a")
    provider.decline("a", "no_payment_method", permanent=True)
    told: list[Done] = []
    assert TopUpWorker(ledger, provider, price=cents, tell=told.append).run_once() == {
        "declined": 1
    }
    assert told[0].final
    settings = ledger.get_auto_top_up("a")
    assert settings
    assert not settings.enabled


def test_a_payment_in_process_is_asked_after_and_credited_when_it_is_through(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    provider.delay("a")
    worker = TopUpWorker(ledger, provider, price=cents)
    assert worker.run_once() == {"processing": 1}
    assert worker.run_once() == {}
    let_pass(db, "59 minutes")
    assert worker.run_once() == {}
    let_pass(db, "1 minute")
    assert worker.run_once() == {"processing": 1}
    provider.accept("a")
    let_pass(db, "1 hour")
    assert worker.run_once() == {"charged": 1}
    assert (ledger.get_credits("a"), provider.charged()) == (530, {"a": [Money(1000, "usd")]})


class Troubled:
    """A provider with whom something goes wrong, as told."""

    def __init__(self, provider: LocalProvider) -> None:
        self.name = provider.name
        self.provider = provider
        self.before: Callable[[Charge], object] = lambda _: None
        self.after: Callable[[Charge], object] = lambda _: None
        self.found: list[str] = []
        self.asked: list[str] = []

    def charge(self, charge: Charge, money: Money) -> Outcome:
        self.asked.append(charge.account_id)
        self.before(charge)
        outcome = self.provider.charge(charge, money)
        self.after(charge)
        return outcome

    def find(self, charge: Charge) -> Outcome | None:
        self.found.append(charge.account_id)
        return self.provider.find(charge)


def unavailable(_: Charge) -> None:
    raise ProviderUnavailableError("no answer")


def test_a_provider_that_is_away_is_asked_again_soon_and_then_less_often(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    troubled = Troubled(provider)
    troubled.before = unavailable
    worker = TopUpWorker(ledger, troubled, price=cents)
    for pause in (15, 30, 60, 120):
        assert worker.run_once() == {"unavailable": 1}
        let_pass(db, f"{pause - 3} seconds")
        assert worker.run_once() == {}
        let_pass(db, "3 seconds")
    troubled.before = lambda _: None
    assert worker.run_once() == {"charged": 1}
    assert len(troubled.found) == 4
    assert provider.charged() == {"a": [Money(1000, "usd")]}


def test_an_answer_that_is_lost_after_the_charge_is_found_whatever_it_would_cost_now(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    troubled = Troubled(provider)
    troubled.after = unavailable
    assert TopUpWorker(ledger, troubled, price=cents).run_once() == {"unavailable": 1}
    let_pass(db, "15 seconds")

    def no_price(_: Charge) -> Money:
        raise AssertionError("it is not charged anew")

    assert TopUpWorker(ledger, troubled, price=no_price).run_once() == {"charged": 1}
    assert provider.charged() == {"a": [Money(1000, "usd")]}
    assert ledger.get_credits("a") == 530


def test_a_claim_that_nobody_settled_is_found_when_its_lease_is_over(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    (claimed,) = ledger.claim_top_ups()
    provider.charge(claimed, cents(claimed))
    troubled = Troubled(provider)
    worker = TopUpWorker(ledger, troubled, price=cents)
    assert worker.run_once() == {}
    let_pass(db, "5 minutes")
    assert worker.run_once() == {"charged": 1}
    assert (troubled.found, troubled.asked) == (["a"], [])
    assert ledger.get_credits("a") == 530


@pytest.mark.parametrize("frozen", [True, False])
def test_what_was_claimed_but_never_charged_is_not_charged_once_nobody_wants_it(
    db: Db, ledger: Ledger, provider: LocalProvider, *, frozen: bool
) -> None:
    run_low(ledger, "a")
    (claimed,) = ledger.claim_top_ups()
    assert claimed.is_wanted
    if frozen:
        ledger.set_account_status("a", "FROZEN")
    else:
        ledger.set_auto_top_up("a", 50, 500, enabled=False)
    let_pass(db, "5 minutes")
    assert TopUpWorker(ledger, provider, price=cents).run_once() == {"declined": 1}
    let_pass(db, "1 day")
    assert TopUpWorker(ledger, provider, price=cents).run_once() == {}
    assert provider.charged() == {}
    if frozen:
        # It was not the card's fault: once the account is open again, it is charged.
        ledger.set_account_status("a", "OPEN")
        assert TopUpWorker(ledger, provider, price=cents).run_once() == {"charged": 1}


@pytest.mark.parametrize("frozen", [True, False])
def test_what_was_charged_is_credited_though_nobody_wants_it_any_more(
    db: Db, ledger: Ledger, provider: LocalProvider, *, frozen: bool
) -> None:
    run_low(ledger, "a")
    (claimed,) = ledger.claim_top_ups()
    provider.charge(claimed, cents(claimed))
    if frozen:
        ledger.set_account_status("a", "FROZEN")
    else:
        ledger.set_auto_top_up("a", 50, 500, enabled=False)
    let_pass(db, "5 minutes")
    assert TopUpWorker(ledger, provider, price=cents).run_once() == {"charged": 1}
    assert provider.charged() == {"a": [Money(1000, "usd")]}
    assert ledger.get_balance("a").balance == 530


def test_a_decline_that_nobody_counted_is_counted_once(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    provider.decline("a")
    (claimed,) = ledger.claim_top_ups()
    outcome = provider.charge(claimed, cents(claimed))
    assert isinstance(outcome, Declined)
    let_pass(db, "5 minutes")
    assert TopUpWorker(ledger, provider, price=cents).run_once() == {"declined": 1}
    # The one that was killed comes back: its attempt was counted.
    ledger.decline_top_up("a", claimed.key, claimed.attempt, outcome.reason)
    assert kinds(ledger, "a") == [("top_up_requested", None), ("top_up_failed", False)]


def test_what_fails_for_a_reason_of_ours_is_told_and_keeps_nobody_else_from_being_charged(
    db: Db, ledger: Ledger, provider: LocalProvider, caplog: pytest.LogCaptureFixture
) -> None:
    run_low(ledger, "a", "b", "c")

    def price(charge: Charge) -> Money:
        if charge.account_id == "b":
            raise KeyError("no such plan")
        return cents(charge)

    told: list[Done] = []
    worker = TopUpWorker(ledger, provider, price=price, tell=told.append, concurrency=1)
    assert worker.run_once() == {"charged": 2, "failed": 1}
    (failed,) = [done for done in told if done.error]
    assert (failed.account_id, failed.reason) == ("b", "KeyError: 'no such plan'")
    assert caplog.messages == ["#auto-1 of b will be tried again"]
    assert worker.run_once() == {}
    let_pass(db, "5 minutes")
    assert TopUpWorker(ledger, provider, price=cents).run_once() == {"charged": 1}
    assert provider.charged() == {name: [Money(1000, "usd")] for name in ("a", "b", "c")}


def test_a_price_that_is_no_money_charges_nothing(ledger: Ledger, provider: LocalProvider) -> None:
    run_low(ledger, "a")
    told: list[Done] = []
    worker = TopUpWorker(ledger, provider, price=lambda _: Money(0, "usd"), tell=told.append)
    assert worker.run_once() == {"failed": 1}
    assert told[0].reason == "ValueError: amount: 0 is not a whole number of smallest units above 0"
    assert provider.charged() == {}


def test_what_was_paid_and_cannot_be_credited_is_unmatched(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a")
    troubled = Troubled(provider)

    def pay_otherwise(charge: Charge) -> None:
        ledger.enable_transaction(charge.account_id, charge.key, external_id="by hand")

    troubled.after = pay_otherwise
    told: list[Done] = []
    worker = TopUpWorker(ledger, troubled, price=cents, tell=told.append)
    assert worker.run_once() == {"unmatched": 1}
    (unmatched,) = ledger.list_payments(unmatched=True)
    assert (unmatched.payment_id, unmatched.reason) == (told[0].payment_id, told[0].reason)
    assert ledger.get_credits("a") == 530
    let_pass(db, "1 day")
    assert worker.run_once() == {}


def test_many_workers_at_once_charge_each_account_once(
    ledger: Ledger, provider: LocalProvider
) -> None:
    accounts = [f"a{number}" for number in range(24)]
    run_low(ledger, *accounts)
    together = threading.Barrier(4)
    counts: list[Counter[Any]] = []

    def work() -> None:
        worker = TopUpWorker(ledger, provider, price=cents, concurrency=2)
        together.wait(SECONDS)
        counts.append(worker.run_once())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts, Counter()) == {"charged": 24}
    assert provider.charged() == {account: [Money(1000, "usd")] for account in accounts}
    assert all(ledger.get_credits(account) == 530 for account in accounts)


def test_as_many_charges_are_under_way_as_were_asked_for_and_no_more_are_claimed(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    run_low(ledger, "a", "b", "c", "d")
    troubled = Troubled(provider)
    claimed: list[int] = []

    def look() -> None:
        rows = db.execute("select account_id from pgledger.charges where claims > 0").fetchall()
        claimed.append(len(rows))

    together = threading.Barrier(3, look, SECONDS)
    troubled.before = lambda charge: together.wait() if charge.account_id < "d" else None
    worker = TopUpWorker(ledger, troubled, price=cents, concurrency=3)
    assert worker.run_once() == {"charged": 4}
    assert claimed == [3]


@pytest.fixture
def running(database_url: str, ledger: Ledger, provider: LocalProvider) -> Iterator["Running"]:
    running = Running(ledger, provider, database_url)
    yield running
    running.end()


class Running:
    """A worker on a thread of its own, and the deeds it told of."""

    def __init__(self, ledger: Ledger, provider: LocalProvider, database_url: str) -> None:
        self.done: Queue[Done] = Queue()
        self._ledger = ledger
        self._provider = provider
        self._url = database_url
        self._thread: threading.Thread | None = None

    def begin(self, charger: Charger | None = None, **settings: Any) -> TopUpWorker:  # noqa: ANN401 - those of a worker
        settings = {"listen": self._url, "poll": timedelta(hours=1), **settings}
        self.worker = TopUpWorker(
            self._ledger,
            charger or self._provider,
            price=cents,
            tell=self.done.put,
            **settings,
        )
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()
        return self.worker

    def next(self) -> Done:
        return self.done.get(timeout=SECONDS)

    def end(self) -> None:
        if self._thread is not None:
            self.worker.stop()
            self._thread.join(SECONDS)
            assert not self._thread.is_alive()


def listening(db: Db) -> list[int]:
    """Return who waits for notifications."""
    found = db.execute(
        "select pid from pg_stat_activity where query = 'listen pgledger_events'"
        " and datname = current_database()"
    ).fetchall()
    return [row["pid"] for row in found]


def test_a_worker_hears_of_what_is_due(db: Db, ledger: Ledger, running: Running) -> None:
    running.begin()
    while not listening(db):
        pass
    for number in range(3):
        run_low(ledger, f"a{number}")
        assert running.next().account_id == f"a{number}"


def test_a_worker_that_hears_nothing_looks(ledger: Ledger, running: Running) -> None:
    running.begin(listen=None, poll=timedelta(milliseconds=10))
    for number in range(3):
        run_low(ledger, f"a{number}")
        assert running.next().account_id == f"a{number}"


def test_a_worker_takes_what_was_due_before_it_came(ledger: Ledger, running: Running) -> None:
    run_low(ledger, "a")
    running.begin()
    assert running.next().what == "charged"


def test_a_worker_survives_the_loss_of_its_connections(
    db: Db, database_url: str, running: Running
) -> None:
    running.begin(poll=timedelta(milliseconds=10))
    for number in range(3):
        while not (ears := listening(db)):
            pass
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        while set(ears) & set(listening(db)):
            pass
        with psycopg.connect(database_url, autocommit=True) as connection:
            run_low(Ledger(connection), f"a{number}")
        while running.next().account_id != f"a{number}":
            pass


def test_a_stopped_worker_settles_what_is_under_way_and_begins_no_more(
    ledger: Ledger, provider: LocalProvider, running: Running
) -> None:
    run_low(ledger, "a", "b")
    troubled = Troubled(provider)
    begun, go_on = threading.Event(), threading.Event()

    def wait(_: Charge) -> None:
        begun.set()
        assert go_on.wait(SECONDS)

    troubled.after = wait
    worker = running.begin(troubled, concurrency=1)
    assert begun.wait(SECONDS)
    worker.stop()
    go_on.set()
    assert running.next().what == "charged"
    running.end()
    assert [len(provider.charged()), troubled.asked] == [1, ["a"]]
    assert sorted((ledger.get_credits("a"), ledger.get_credits("b"))) == [30, 530]


def test_a_worker_without_a_ledger_in_its_database_does_not_wait_for_one(
    empty_database: str, provider: LocalProvider
) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        worker = TopUpWorker(Ledger(connection), provider, price=cents)
        with pytest.raises(psycopg.errors.InvalidSchemaName):
            worker.run()


@pytest.fixture
def approved(ledger: Ledger, provider: LocalProvider) -> str:
    """A payment of 500 credits for 1000 cents, of which 400 credits are to be given back."""
    run_low(ledger, "a")
    TopUpWorker(ledger, provider, price=cents).run_once()
    ledger.request_refund("a", "#auto-1", amount=400, key="please")
    ledger.approve_refund("a", "please")
    (payment,) = ledger.list_payments()
    return payment.payment_id


def request(ledger: Ledger) -> tuple[str | None, str | None]:
    (found,) = ledger.list_refund_requests()
    assert (found.status, found.due_at) == ("APPROVED", None)
    return found.return_id, found.result


def test_the_money_of_an_approved_refund_is_given_back_once(
    ledger: Ledger, provider: LocalProvider, approved: str
) -> None:
    assert TopUpWorker(ledger, provider, price=cents).run_once() == {}
    told: list[Done] = []
    worker = TopUpWorker(ledger, provider, price=cents, refunder=provider, tell=told.append)
    assert worker.run_once() == {"refunded": 1}
    assert worker.run_once() == {}
    (done,) = told
    assert (done.key, done.amount, done.money) == ("please", 400, Money(800, "usd"))
    (given,) = [fact for fact in provider.facts_of(approved) if fact["record"] == "refund"]
    assert (given["amount"], given["request_key"]) == (800, "please")
    assert request(ledger) == (given["refund_id"], "SUCCEEDED")
    assert ledger.get_credits("a") == 130
    assert ledger.verify() == []


class TroubledRefunds:
    """A refunder with whom something goes wrong, as told."""

    def __init__(self, provider: LocalProvider) -> None:
        self.name = provider.name
        self.provider = provider
        self.trouble: Callable[[RefundOrder], Fact] = provider.refund
        self.found = 0

    def refund(self, order: RefundOrder) -> Fact:
        return self.trouble(order)

    def find_refund(self, order: RefundOrder) -> Fact | None:
        self.found += 1
        return self.provider.find_refund(order)


def test_an_answer_that_is_lost_after_the_refund_is_found(
    db: Db, ledger: Ledger, provider: LocalProvider, approved: str
) -> None:
    troubled = TroubledRefunds(provider)

    def lose(order: RefundOrder) -> Fact:
        provider.refund(order)
        raise ProviderUnavailableError("no answer")

    troubled.trouble = lose
    worker = TopUpWorker(ledger, provider, price=cents, refunder=troubled)
    assert worker.run_once() == {"unavailable": 1}
    assert worker.run_once() == {}
    let_pass(db, "5 minutes")
    # Were it asked for again, the answer would be lost again.
    assert worker.run_once() == {"refunded": 1}
    assert troubled.found == 1
    assert len([fact for fact in provider.facts_of(approved) if fact["record"] == "refund"]) == 1
    assert ledger.get_credits("a") == 130


@pytest.mark.usefixtures("approved")
def test_a_refund_that_the_provider_refuses_gives_the_credits_back(
    ledger: Ledger, provider: LocalProvider
) -> None:
    troubled = TroubledRefunds(provider)

    def refuse(_: RefundOrder) -> Fact:
        raise RefundRefusedError("card_gone")

    troubled.trouble = refuse
    worker = TopUpWorker(ledger, provider, price=cents, refunder=troubled)
    assert worker.run_once() == {"refund_refused": 1}
    assert worker.run_once() == {}
    assert request(ledger) == (None, "card_gone")
    assert ledger.get_credits("a") == 530


@pytest.mark.usefixtures("approved")
def test_a_refund_that_fails_for_a_reason_of_ours_comes_again(
    db: Db, ledger: Ledger, provider: LocalProvider
) -> None:
    troubled = TroubledRefunds(provider)

    def fail(_: RefundOrder) -> Fact:
        raise KeyError("refund")

    troubled.trouble = fail
    worker = TopUpWorker(ledger, provider, price=cents, refunder=troubled)
    assert worker.run_once() == {"failed": 1}
    troubled.trouble = provider.refund
    let_pass(db, "5 minutes")
    assert worker.run_once() == {"refunded": 1}


@pytest.mark.usefixtures("approved")
def test_a_refund_is_left_to_the_provider_that_took_the_money(ledger: Ledger) -> None:
    other = LocalProvider("other")
    worker = TopUpWorker(ledger, other, price=cents, refunder=other)
    assert worker.run_once() == {}


def test_refunds_and_charges_together_are_no_more_than_are_begun(
    db: Db, ledger: Ledger, provider: LocalProvider, approved: str
) -> None:
    run_low(ledger, "b")
    troubled = TroubledRefunds(provider)
    claimed: list[int] = []

    def look(order: RefundOrder) -> Fact:
        rows = db.execute("select from pgledger.charges where claims > 0 and due_at > now()")
        claimed.append(len(rows.fetchall()))
        return provider.refund(order)

    troubled.trouble = look
    worker = TopUpWorker(ledger, provider, price=cents, refunder=troubled, concurrency=1)
    assert worker.run_once() == {"refunded": 1, "charged": 1}
    assert claimed == [0]
    assert approved


class Late(Ledger):
    """A ledger that something happens to right after nothing was found due."""

    then: Callable[[], object] | None = None

    def claim_top_ups(self, **given: Any) -> list[Charge]:  # noqa: ANN401 - handed on
        found = self.run(calls.claim_top_ups(**given))
        if not found and self.then is not None:
            then, self.then = self.then, None
            then()
        return found


def test_what_is_due_right_after_the_first_look_is_heard_of(
    pool: ConnectionPool, ledger: Ledger, provider: LocalProvider, database_url: str
) -> None:
    late = Late(pool)
    late.then = lambda: run_low(ledger, "a")
    running = Running(late, provider, database_url)
    running.begin()
    try:
        assert running.next().what == "charged"
    finally:
        running.end()


def test_only_what_concerns_it_wakes_a_worker(db: Db, database_url: str) -> None:
    waiting = Waiting(database_url, "top_up_requested")
    waiting.open()
    db.execute("notify pgledger_events, 'low_balance'")
    assert not waiting.wait(timedelta(seconds=0.5))
    db.execute("notify pgledger_events, 'low_balance'")
    db.execute("notify pgledger_events, 'top_up_requested'")
    assert waiting.wait(timedelta(seconds=SECONDS))
    waiting.close()


def test_an_idle_worker_ends_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = threading.Event()
    really = select.select

    def noted(*given: Any) -> Any:  # noqa: ANN401 - handed on
        idle.set()
        return really(*given)

    monkeypatch.setattr("pgledger.payments.waiting.select.select", noted)
    waiting = Waiting(None, "top_up_requested")
    # A daemon, since one that cannot be ended must not hold up the tests.
    thread = threading.Thread(target=waiting.wait, args=(timedelta(hours=1),), daemon=True)
    thread.start()
    assert idle.wait(SECONDS)
    waiting.stop()
    thread.join(SECONDS)
    assert not thread.is_alive()
