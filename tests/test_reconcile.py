"""Comparing a provider's books with the ledger: what is told, and what --fix makes of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from pgledger import DisputePolicy, Ledger
from pgledger.payments import Difference, Fact, LocalProvider, Money, Report, TopUpWorker, reconcile
from tests.support import everything, let_pass

Db = psycopg.Connection[DictRow]
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(db: Db) -> Ledger:
    return Ledger(db)


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Paper:
    """Books that say what a test writes into them; what is `old` was made before the time asked."""

    facts: list[Fact] = field(default_factory=list)
    old: list[Fact] = field(default_factory=list)
    name: str = "paper"

    def facts_since(self, since: datetime, until: datetime | None = None) -> Iterator[Fact]:
        del since, until
        yield from self.facts

    def facts_of(self, payment_id: str) -> Iterator[Fact]:
        yield from (f for f in [*self.facts, *self.old] if f["payment_id"] == payment_id)


def payment(payment_id: str = "pay_1", status: str = "SUCCEEDED", **more: Any) -> Fact:  # noqa: ANN401 - of a fact
    told = {"account_id": "a", "amount": 500, "paid": 1000, "currency": "usd", **more}
    known = {name: value for name, value in told.items() if value is not None}
    return {"record": "payment", "payment_id": payment_id, "status": status, **known}


def refund(amount: int, status: str = "SUCCEEDED", refund_id: str = "re_1") -> Fact:
    named = {"record": "refund", "refund_id": refund_id, "payment_id": "pay_1"}
    return {**named, "amount": amount, "status": status, "occurred_at": now().isoformat()}


def dispute(status: str = "OPEN", **more: str) -> Fact:
    named = {"record": "dispute", "dispute_id": "dp_1", "payment_id": "pay_1"}
    return {**named, "amount": 1000, "status": status, "occurred_at": now().isoformat(), **more}


def tell(ledger: Ledger, *facts: Fact, event_id: str = "evt") -> None:
    """Let the ledger hear of facts as an event of the provider tells them."""
    for number, fact in enumerate(facts):
        ledger.record_payment_event("paper", f"{event_id}_{number}", "told", "{}")
        ledger.process_payment_event("paper", f"{event_id}_{number}", [fact])


def compare(
    ledger: Ledger,
    books: Paper | LocalProvider,
    *,
    fix: bool = False,
    on_dispute: DisputePolicy | None = None,
    since: datetime | None = None,
) -> Report:
    return reconcile(
        ledger,
        books,
        since=since or now() - AN_HOUR,
        until=now() + AN_HOUR,
        fix=fix,
        on_dispute=on_dispute,
    )


def kinds(differences: Any) -> list[tuple[str, str, str, bool]]:  # noqa: ANN401 - of a report
    return [(found.kind, found.record, found.id, found.certain) for found in differences]


def only(report: Report) -> Difference:
    (found,) = report.differences
    return found


def test_books_that_agree_are_said_to_agree_and_nothing_is_written(db: Db, ledger: Ledger) -> None:
    told = [payment(), payment("pay_2", account_id="b"), refund(200), dispute("WON")]
    tell(ledger, *told)
    before = everything(db)
    for fix in (False, True):
        report = compare(ledger, Paper(told), fix=fix)
        assert not report.differences
        assert not report.fixed
        assert (report.payments, report.refunds, report.disputes) == (2, 1, 1)
    assert everything(db) == before


def test_what_the_worker_did_agrees(ledger: Ledger) -> None:
    ledger.top_up("a", 100)
    ledger.set_auto_top_up("a", 50, 500)
    ledger.spend("a", 70)
    provider = LocalProvider()
    TopUpWorker(
        ledger, provider, price=lambda charge: Money(charge.amount, "usd"), concurrency=1
    ).run_once()
    report = compare(ledger, provider)
    assert (report.payments, report.differences) == (1, [])


def test_a_payment_that_the_ledger_was_not_told_of_is_credited_by_fix(ledger: Ledger) -> None:
    books = Paper([payment()])
    found = only(compare(ledger, books))
    assert kinds([found]) == [("missing_in_ledger", "payment", "pay_1", True)]
    assert (found.account_id, found.in_ledger) == ("a", None)
    assert found.at_provider == "SUCCEEDED 1000 usd"
    assert ledger.get_credits("a") == 0

    report = compare(ledger, books, fix=True)
    assert (report.differences, kinds(report.fixed)) == ([], kinds([found]))
    assert ledger.get_credits("a") == 500
    (event,) = ledger.list_payment_events(provider="paper")
    assert (event.type, event.status) == ("pgledger.reconciled", "PROCESSED")
    stored = ledger.get_payment_event("paper", event.event_id)
    assert stored
    assert json.loads(stored.payload) == [payment()]

    again = compare(ledger, books, fix=True)
    assert (again.differences, list(again.fixed)) == ([], [])
    assert ledger.get_credits("a") == 500


def test_a_payment_of_nobody_we_know_is_left_to_people(db: Db, ledger: Ledger) -> None:
    before = everything(db)
    report = compare(ledger, Paper([payment(account_id=None)]), fix=True)
    assert kinds(report.differences) == [("missing_in_ledger", "payment", "pay_1", False)]
    assert everything(db) == before


@pytest.mark.parametrize("status", ["PROCESSING", "FAILED"])
def test_what_nobody_paid_is_no_difference(ledger: Ledger, status: str) -> None:
    assert compare(ledger, Paper([payment(status=status)])).differences == []


@pytest.mark.parametrize("status", ["PROCESSING", "FAILED"])
def test_a_payment_that_went_through_in_the_end_is_credited_by_fix(
    ledger: Ledger, status: str
) -> None:
    tell(ledger, payment(status=status, reason="slow"))
    found = only(compare(ledger, Paper([payment()])))
    assert (found.kind, found.in_ledger, found.certain) == ("status", status, True)
    report = compare(ledger, Paper([payment()]), fix=True)
    assert (report.differences, len(report.fixed)) == ([], 1)
    assert ledger.get_credits("a") == 500


def test_a_payment_that_the_provider_calls_failed_is_left_to_people(ledger: Ledger) -> None:
    tell(ledger, payment())
    report = compare(ledger, Paper([payment(status="FAILED")]), fix=True)
    assert kinds(report.differences) == [("status", "payment", "pay_1", False)]
    assert ledger.get_credits("a") == 500


@pytest.mark.parametrize(
    ("changed", "kind", "in_ledger", "at_provider"),
    [
        ({"paid": 1001}, "amount", "1000 usd 500", "1001 usd 500"),
        ({"currency": "eur"}, "amount", "1000 usd 500", "1000 eur 500"),
        ({"amount": 501}, "amount", "1000 usd 500", "1000 usd 501"),
        ({"account_id": "b"}, "account", "a order-1", "b ?"),
        ({"key": "order-2"}, "account", "a order-1", "a order-2"),
    ],
)
def test_a_payment_that_is_another_to_the_provider_is_left_to_people(
    ledger: Ledger, changed: dict[str, Any], kind: str, in_ledger: str, at_provider: str
) -> None:
    tell(ledger, payment(key="order-1"))
    found = only(compare(ledger, Paper([payment(**changed)]), fix=True))
    assert (found.kind, found.certain) == (kind, False)
    assert (found.in_ledger, found.at_provider) == (in_ledger, at_provider)


def test_a_payment_that_the_provider_does_not_know_is_left_to_people(ledger: Ledger) -> None:
    tell(ledger, payment())
    report = compare(ledger, Paper(), fix=True)
    assert kinds(report.differences) == [("missing_at_provider", "payment", "pay_1", False)]
    assert ledger.get_credits("a") == 500


def test_a_payment_that_was_made_before_and_told_of_since_is_looked_up(ledger: Ledger) -> None:
    tell(ledger, payment())
    assert compare(ledger, Paper(old=[payment()])).differences == []
    assert only(compare(ledger, Paper(old=[payment(paid=1)]))).kind == "amount"


def test_what_was_told_of_at_another_time_is_not_looked_up(db: Db, ledger: Ledger) -> None:
    tell(ledger, payment())
    let_pass(db, "2 hours")
    assert compare(ledger, Paper()).differences == []
    assert len(compare(ledger, Paper(), since=now() - 3 * AN_HOUR).differences) == 1


def test_what_the_ledger_heard_of_before_the_provider_says_it_was_made_is_found(
    db: Db, ledger: Ledger
) -> None:
    """The clocks differ by some minutes."""
    tell(ledger, payment())
    let_pass(db, "59 minutes")
    since = now() - timedelta(minutes=30)
    assert compare(ledger, Paper([payment()]), since=since).differences == []


def test_a_refund_that_the_ledger_was_not_told_of_takes_its_credits_by_fix(ledger: Ledger) -> None:
    tell(ledger, payment())
    books = Paper([payment(), refund(400)])
    assert kinds(compare(ledger, books).differences) == [
        ("missing_in_ledger", "refund", "re_1", True)
    ]
    report = compare(ledger, books, fix=True)
    assert (report.differences, len(report.fixed)) == ([], 1)
    assert ledger.get_credits("a") == 300


def test_a_payment_and_its_refund_are_recorded_together(ledger: Ledger) -> None:
    report = compare(ledger, Paper([refund(400), payment()]), fix=True)
    assert (report.differences, [found.record for found in report.fixed]) == (
        [],
        ["payment", "refund"],
    )
    assert ledger.get_credits("a") == 300


def test_a_refund_of_an_older_payment_is_recorded_where_that_is_ours(ledger: Ledger) -> None:
    ours = Paper([refund(400)], old=[payment()])
    assert only(compare(ledger, ours)).certain
    theirs = Paper([refund(400)], old=[payment(account_id=None)])
    assert not only(compare(ledger, theirs)).certain


def test_a_refund_that_failed_since_gives_the_credits_back_by_fix(ledger: Ledger) -> None:
    tell(ledger, payment(), refund(400))
    report = compare(ledger, Paper([payment(), refund(400, "FAILED")]), fix=True)
    assert (report.differences, kinds(report.fixed)) == ([], [("status", "refund", "re_1", True)])
    assert ledger.get_credits("a") == 500


def test_a_refund_of_another_amount_is_left_to_people(ledger: Ledger) -> None:
    tell(ledger, payment(), refund(400))
    report = compare(ledger, Paper([payment(), refund(300)]), fix=True)
    assert kinds(report.differences) == [("amount", "refund", "re_1", False)]


def test_a_refund_that_the_provider_does_not_know_is_left_to_people(ledger: Ledger) -> None:
    tell(ledger, payment(), refund(400))
    report = compare(ledger, Paper([payment()]), fix=True)
    assert kinds(report.differences) == [("missing_at_provider", "refund", "re_1", False)]


def test_a_sum_of_refunds_that_is_more_than_is_known_is_recorded(ledger: Ledger) -> None:
    tell(ledger, payment(refunded=0))
    report = compare(ledger, Paper([payment(refunded=400)]), fix=True)
    assert kinds(report.fixed) == [("refunded", "payment", "pay_1", True)]
    assert report.differences == []
    assert ledger.get_credits("a") == 300
    report = compare(ledger, Paper([payment(refunded=200)]), fix=True)
    assert kinds(report.differences) == [("refunded", "payment", "pay_1", False)]


def test_a_dispute_is_recorded_only_when_it_is_said_what_it_does(ledger: Ledger) -> None:
    tell(ledger, payment())
    books = Paper([payment(), dispute(policy="FREEZE")])
    report = compare(ledger, books, fix=True)
    assert kinds(report.differences) == [("missing_in_ledger", "dispute", "dp_1", False)]
    assert ledger.get_balance("a").status == "OPEN"
    report = compare(ledger, books, fix=True, on_dispute="DEDUCT")
    assert (report.differences, len(report.fixed)) == ([], 1)
    assert (ledger.get_credits("a"), ledger.get_balance("a").status) == (0, "OPEN")


def test_an_inquiry_of_the_bank_does_not_freeze(ledger: Ledger) -> None:
    tell(ledger, payment())
    books = Paper([payment(), dispute(policy="FLAG")])
    compare(ledger, books, fix=True, on_dispute="FREEZE")
    assert ledger.get_balance("a").status == "OPEN"


def test_a_dispute_that_was_won_since_is_closed_by_fix(ledger: Ledger) -> None:
    tell(ledger, payment(), dispute())
    assert ledger.get_balance("a").status == "FROZEN"
    report = compare(ledger, Paper([payment(), dispute("WON")]), fix=True)
    assert (report.differences, kinds(report.fixed)) == ([], [("status", "dispute", "dp_1", True)])
    assert ledger.get_balance("a").status == "OPEN"


def test_a_payment_that_could_not_be_credited_is_tried_again(ledger: Ledger) -> None:
    tell(ledger, payment(account_id=None, customer="cus_1"))
    books = Paper([payment(account_id=None, customer="cus_1")])
    found = only(compare(ledger, books, fix=True))
    assert (found.kind, found.certain) == ("unmatched", False)
    assert found.in_ledger
    report = compare(ledger, Paper([payment(customer="cus_1")]), fix=True)
    assert (report.differences, len(report.fixed)) == ([], 1)
    assert ledger.get_credits("a") == 500


def test_what_cannot_be_fixed_says_why(ledger: Ledger) -> None:
    ledger.open_account("a")
    ledger.set_account_status("a", "CLOSED")
    found = only(compare(ledger, Paper([payment()]), fix=True))
    assert (found.kind, found.record) == ("unmatched", "payment")
    assert found.in_ledger == "account not open"


def test_a_fact_that_the_ledger_refuses_is_told_with_its_reason(ledger: Ledger) -> None:
    report = compare(ledger, Paper([payment(paid=-1)]), fix=True)
    missing, event = report.differences
    assert (missing.kind, event.kind) == ("missing_in_ledger", "event")
    assert missing.failed == event.at_provider == "invalid paid"


def test_an_event_that_failed_is_told(db: Db, ledger: Ledger) -> None:
    tell(ledger, {"record": "nothing"})
    report = compare(ledger, Paper(), fix=True)
    assert kinds(report.differences) == [("event", "event", "evt_0", False)]
    ledger.record_payment_event("paper", "left", "told", "{}")
    assert {found.id for found in compare(ledger, Paper()).differences} == {"evt_0", "left"}
    ledger.record_payment_event("other", "theirs", "told", "{}")
    assert len(compare(ledger, Paper()).differences) == 2
    let_pass(db, "1 year")
    assert len(compare(ledger, Paper()).differences) == 2


def test_a_top_up_that_is_pending_for_days_is_told(db: Db, ledger: Ledger) -> None:
    ledger.create_top_up("a", 500, key="order-1")
    let_pass(db, "47 hours")
    books = Paper()
    far = now() + timedelta(minutes=1)
    assert reconcile(ledger, books, since=now() - AN_HOUR, until=far).differences == []
    let_pass(db, "1 hour")
    report = reconcile(ledger, books, since=now() - AN_HOUR, until=far)
    assert kinds(report.differences) == [("pending", "top_up", "order-1", False)]


def test_a_refund_that_was_approved_and_not_made_is_told(ledger: Ledger) -> None:
    tell(ledger, payment(key="order-1"))
    ledger.request_refund("a", "order-1", key="please")
    books = Paper([payment()])
    assert compare(ledger, books).differences == []
    ledger.approve_refund("a", "please")
    found = only(compare(ledger, books))
    assert (found.kind, found.id, found.in_ledger) == ("refund_due", "please", "1000 usd of pay_1")
    ledger.settle_refund_request("a", "please", result="card is gone")
    assert compare(ledger, books).differences == []


def test_lists_of_many_pages_are_read_to_their_end(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgledger.payments.comparison.PAGE", 2)
    told = [payment(f"pay_{number}") for number in range(5)]
    tell(ledger, *told)
    assert compare(ledger, Paper(told)).differences == []
    assert len(compare(ledger, Paper(told[:2])).differences) == 3


def test_what_the_ledger_heard_of_outside_the_time_is_not_missing(db: Db, ledger: Ledger) -> None:
    """It is read, since the clocks differ, but not asked after."""
    tell(ledger, payment(), refund(400))
    let_pass(db, "45 minutes")
    books = Paper()
    assert compare(ledger, books, since=now() - timedelta(minutes=30)).differences == []
    before = reconcile(
        ledger, books, since=now() - 3 * AN_HOUR, until=now() - timedelta(minutes=50)
    )
    assert before.differences == []
    assert len(compare(ledger, books).differences) == 2


def test_what_failed_need_not_be_known_to_the_provider(ledger: Ledger) -> None:
    tell(ledger, payment(status="FAILED"), payment("pay_2", "PROCESSING"))
    assert compare(ledger, Paper()).differences == []


def test_an_event_that_came_after_the_time_is_not_told(ledger: Ledger) -> None:
    tell(ledger, {"record": "nothing"})
    report = reconcile(ledger, Paper(), since=now() - 2 * AN_HOUR, until=now() - AN_HOUR)
    assert report.differences == []


def test_a_refund_that_another_provider_is_to_make_is_not_told(ledger: Ledger) -> None:
    tell(ledger, payment(key="order-1"))
    ledger.request_refund("a", "order-1", key="please")
    ledger.approve_refund("a", "please")
    assert compare(ledger, Paper(name="other")).differences == []


def test_what_is_listed_twice_is_told_once(ledger: Ledger) -> None:
    assert len(compare(ledger, Paper([payment(), payment()])).differences) == 1
