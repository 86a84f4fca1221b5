"""record_payment: facts in any order and however often, credited once."""

from typing import Any

import pytest

from tests.payments import announce, payments, tell
from tests.support import (
    Ledger,
    ask,
    ask_all,
    events,
    everything,
    in_order,
    journal,
    pending,
    posted,
    refused,
    value,
)

PAID = {"provider": "test", "payment_id": "p", "paid": 500, "currency": "usd"}


def kinds(db: Ledger, account_id: str = "a") -> list[str]:
    return [kind for kind, _ in events(db, account_id)]


def told(db: Ledger, payment_id: str = "p") -> dict[str, Any]:
    (row,) = (r for r in ask_all(db, "list_payments") if r["payment_id"] == payment_id)
    return dict(row)


def test_an_announced_top_up_is_enabled_with_what_was_announced(db: Ledger) -> None:
    announce(db, metadata={"order": 7})
    row = tell(db, amount=90)
    assert (row["status"], row["account_id"], row["key"], row["seq"]) == ("SUCCEEDED", "a", "k", 1)
    assert (row["amount"], row["paid"], row["paid_currency"]) == (100, 500, "usd")
    assert (row["refunded"], row["disputed"], row["taken"], row["reason"]) == (0, 0, 0, None)
    found = ask(db, "get_transaction", account_id="a", key="k")
    assert (found["amount"], found["external_id"], found["type"]) == (100, "p", "TOP_UP")
    assert found["metadata"] == {"order": 7}
    assert events(db) == [("top_up_paid", PAID | {"key": "k", "amount": 100, "balance": 100})]
    assert in_order(db)


def test_a_repeat_changes_nothing(db: Ledger) -> None:
    announce(db)
    first = tell(db)
    before = everything(db)
    assert tell(db) == first
    assert tell(db, "PROCESSING") == first
    assert tell(db, "FAILED", reason="card_declined", occurred_at="2200-01-01") == first
    assert everything(db) == before


def test_without_an_announcement_the_amount_is_topped_up(db: Ledger) -> None:
    assert tell(db, amount=70)["key"] == "k"
    assert tell(db, payment_id="q", key=None, amount=30)["key"] == "#test-q"
    found = ask(db, "get_transaction", account_id="a", key="#test-q")
    assert (found["amount"], found["external_id"], found["type"]) == (30, "q", "TOP_UP")
    assert journal(db) == [("TOP_UP", 70), ("TOP_UP", 30)]
    assert in_order(db)


def test_a_top_up_that_the_application_posted_is_taken_for_it(db: Ledger) -> None:
    announce(db)
    announce(db, "l")
    ask(db, "enable_transaction", account_id="a", key="k", external_id="p")
    ask(db, "top_up", account_id="a", amount=40, key="m", external_id="q")
    assert tell(db)["seq"] == 1
    # Under whichever key: it is the payment's, and what was announced for it is dropped.
    row = tell(db, payment_id="q", key="l", amount=5)
    assert (row["seq"], row["key"], row["amount"]) == (2, "m", 40)
    (kept,) = db.execute("select reason from pgledger.pending_transactions where key = 'l'")
    assert kept["reason"] == "recorded as #2"
    assert pending(db) == {"k": "ENABLED", "l": "CANCELLED"}
    assert posted(db, "a") == [100, 40]
    assert kinds(db) == ["top_up_paid", "top_up_paid"]
    assert in_order(db)


def test_a_top_up_that_was_posted_under_the_key_is_taken_for_it(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100, key="k")
    assert tell(db)["seq"] == 1
    assert posted(db, "a") == [100]
    assert kinds(db) == ["top_up_paid"]


def test_a_top_up_that_was_enabled_without_its_id_is_of_the_first_payment_only(db: Ledger) -> None:
    announce(db)
    ask(db, "enable_transaction", account_id="a", key="k")
    assert tell(db)["seq"] == 1
    row = tell(db, payment_id="q")
    assert (row["status"], row["seq"], row["reason"]) == ("SUCCEEDED", None, "key already used")
    assert posted(db, "a") == [100]
    assert kinds(db) == ["top_up_paid", "payment_unmatched"]
    assert in_order(db)


def test_who_pays_twice_for_one_key_is_credited_once_and_told_of(db: Ledger) -> None:
    announce(db)
    tell(db)
    row = tell(db, payment_id="q")
    assert (row["status"], row["seq"], row["reason"]) == ("SUCCEEDED", None, "key already used")
    assert events(db)[1] == (
        "payment_unmatched",
        PAID | {"payment_id": "q", "account_id": "a", "key": "k", "reason": "key already used"},
    )
    tell(db, payment_id="q")
    assert len(events(db)) == 2
    assert in_order(db)


@pytest.mark.parametrize("settled", ["CANCELLED", "frozen"])
def test_who_paid_is_credited_late(db: Ledger, settled: str) -> None:
    announce(db)
    if settled == "frozen":
        ask(db, "set_account_status", account_id="a", status="FROZEN")
    else:
        ask(db, "cancel_transaction", account_id="a", key="k")
    assert tell(db)["seq"] == 1
    assert posted(db, "a") == [100]


def test_the_customer_tells_whose_it_is(db: Ledger) -> None:
    announce(db)
    tell(db, customer="cus_1")
    row = tell(db, payment_id="q", account_id=None, key=None, customer="cus_1", amount=30)
    assert (row["account_id"], row["key"], row["seq"]) == ("a", "#test-q", 2)


def test_the_customer_is_linked_when_nobody_has_it(db: Ledger) -> None:
    announce(db)
    announce(db, account_id="b")
    tell(db)
    assert db.execute("select from pgledger.account_identifiers").fetchall() == []
    tell(db, customer="cus_1")
    tell(db, payment_id="q", account_id="b", customer="cus_1")
    found = db.execute("select kind, value, account_id from pgledger.account_identifiers")
    assert found.fetchall() == [{"kind": "CUSTOMER", "value": "cus_1", "account_id": "a"}]


def test_what_nobody_knows_is_kept_told_once_and_tried_again(db: Ledger) -> None:
    row = tell(db, account_id=None, key=None)
    assert (row["status"], row["seq"], row["reason"]) == ("SUCCEEDED", None, "account unknown")
    tell(db, account_id=None, key=None)
    assert events(db, "#payments") == [
        (
            "payment_unmatched",
            PAID | {"account_id": None, "key": None, "reason": "account unknown"},
        )
    ]
    assert tell(db, key=None)["reason"] == "amount unknown"
    assert tell(db, key=None, account_id=None, amount=20)["seq"] == 1
    assert kinds(db) == ["top_up_paid"]
    assert len(events(db, "#payments")) == 1
    assert in_order(db)


def test_only_a_customer_is_one(db: Ledger) -> None:
    ask(db, "open_account", account_id="b")
    given = {"account_id": "b", "identifier": "cus_1", "kind": "PAYMENT_METHOD"}
    ask(db, "link_identifier", **given)
    assert tell(db, account_id=None, customer="cus_1", amount=5)["reason"] == "account unknown"


@pytest.mark.parametrize("refused", ["account not open", "key already used"])
def test_what_could_not_be_credited_to_the_customers_account_is_still_nobodys(
    db: Ledger, refused: str
) -> None:
    for account_id in ("b", "c"):
        ask(db, "open_account", account_id=account_id)
    ask(db, "link_identifier", account_id="b", identifier="cus_1")
    if refused == "account not open":
        ask(db, "set_account_status", account_id="b", status="CLOSED")
    else:
        ask(db, "top_up", account_id="b", amount=5, key="k")
        tell(db, payment_id="q", account_id="b")
    nobodys = tell(db, account_id=None, customer="cus_1", amount=5)
    assert (nobodys["account_id"], nobodys["reason"]) == (None, refused)
    ask(db, "link_identifier", account_id="c", identifier="cus_1", move=True)
    row = tell(db, account_id=None)
    assert (row["account_id"], row["seq"], row["reason"]) == ("c", 1, None)
    assert in_order(db)


def test_movements_of_another_account_under_its_id_are_another_matter(db: Ledger) -> None:
    ask(db, "top_up", account_id="b", amount=7, external_id="p")
    assert tell(db, amount=5)["amount"] == 5
    assert journal(db) == [("TOP_UP", 5)]


def test_a_key_that_was_told_before_is_dropped_as_well(db: Ledger) -> None:
    announce(db, "l")
    ask(db, "top_up", account_id="a", amount=40, key="m", external_id="p")
    tell(db, "PROCESSING", key="l")
    assert tell(db, key="l")["key"] == "m"
    assert pending(db) == {"l": "CANCELLED"}


def test_what_somebody_unlinked_a_repeat_does_not_link_again(db: Ledger) -> None:
    announce(db)
    tell(db, customer="cus_1")
    ask(db, "unlink_identifier", identifier="cus_1")
    tell(db, customer="cus_1")
    assert db.execute("select from pgledger.account_identifiers").fetchall() == []


def test_a_change_is_seen_by_when_it_was(db: Ledger) -> None:
    first = tell(db, "PROCESSING")
    assert first["updated_at"] >= first["created_at"]
    second = tell(db, amount=5)
    assert second["updated_at"] > first["updated_at"]
    assert tell(db)["updated_at"] == second["updated_at"]


def test_an_account_that_is_only_looked_at_is_not_opened(db: Ledger) -> None:
    tell(db, "FAILED")
    tell(db, "PROCESSING", payment_id="q")
    assert ask(db, "get_balance", account_id="a")["status"] is None
    assert db.execute("select from pgledger.balances").fetchall() == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"key": "held"}, "key already used"),
        ({"key": "granted"}, "key already used"),
        ({"key": "spent"}, "key already used"),
        ({"key": "other", "amount": 7}, "key already used"),
        ({"key": "corrected"}, "key already used"),
        ({"key": "debited"}, "key already used"),
        ({"key": "#nobody"}, "transaction not found"),
        ({"key": "#1"}, "transaction not found"),
        ({"key": "new"}, "amount unknown"),
        ({"account_id": "closed", "amount": 1}, "account not open"),
        ({"payment_id": "granted", "amount": 1}, "key already used"),
    ],
)
def test_what_cannot_be_credited_says_why(db: Ledger, given: dict[str, Any], reason: str) -> None:
    ask(db, "top_up", account_id="a", amount=50, key="other")
    ask(db, "hold", account_id="a", amount=5, key="held")
    ask(db, "spend", account_id="a", amount=5, key="spent")
    grant = {"account_id": "a", "amount": 5, "type": "GRANT"}
    ask(db, "add_transaction", **grant, key="granted", is_active=False)
    ask(db, "add_transaction", **grant, external_id="granted")
    ask(db, "open_account", account_id="closed")
    ask(db, "set_account_status", account_id="closed", status="CLOSED")
    ask(db, "add_transaction", account_id="a", amount=-1, type="TOP_UP", key="corrected")
    debit = {"account_id": "a", "amount": -1, "type": "TOP_UP"}
    ask(db, "add_transaction", **debit, key="debited", is_active=False)
    before = posted(db, "a")
    row = tell(db, **given)
    assert (row["status"], row["seq"], row["reason"]) == ("SUCCEEDED", None, reason)
    assert posted(db, "a") == before
    assert set(pending(db).values()) == {"PENDING"}
    assert kinds(db, row["account_id"]) == ["payment_unmatched"]
    assert in_order(db)


def test_a_closed_account_is_credited_once_it_is_open(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    assert tell(db, amount=5)["seq"] is None
    ask(db, "set_account_status", account_id="a", status="OPEN")
    row = tell(db)
    assert (row["seq"], row["amount"], row["reason"]) == (1, 5, None)
    assert kinds(db) == ["payment_unmatched", "top_up_paid"]


def test_of_failed_and_processing_the_later_holds(db: Ledger) -> None:
    early, late = "2024-01-01T00:00Z", "2024-01-02T00:00Z"
    assert tell(db, "FAILED", occurred_at=late, reason="declined")["status"] == "FAILED"
    assert tell(db, "PROCESSING", occurred_at=early)["reason"] == "declined"
    assert tell(db, "PROCESSING", occurred_at=late)["status"] == "FAILED"
    assert tell(db, "PROCESSING")["status"] == "FAILED"
    row = tell(db, "PROCESSING", occurred_at="2024-01-03T00:00Z")
    assert (row["status"], row["reason"]) == ("PROCESSING", None)
    assert tell(db, "FAILED", reason="x")["status"] == "PROCESSING"
    assert tell(db, "FAILED", occurred_at="2024-01-03T00:00Z", reason="y")["reason"] == "y"
    assert tell(db, amount=1)["reason"] is None


def test_of_two_reasons_for_one_failure_the_first_holds_and_only_a_failure_has_one(
    db: Ledger,
) -> None:
    early = "2023-01-01T00:00Z"
    assert tell(db, "PROCESSING", occurred_at=early, reason="why")["reason"] is None
    at = "2024-01-01T00:00Z"
    tell(db, "FAILED", occurred_at=at, reason="declined")
    assert tell(db, "FAILED", occurred_at=at, reason="other")["reason"] == "declined"


def test_when_it_happened_is_when_its_status_did(db: Ledger) -> None:
    def occurred() -> str | None:
        (kept,) = db.execute("select occurred_at::date::text as day from pgledger.payments")
        day: str | None = kept["day"]
        return day

    tell(db, "FAILED", occurred_at="2024-01-02T12:00Z")
    assert occurred() == "2024-01-02"
    tell(db, occurred_at="2024-01-01T12:00Z")
    tell(db, occurred_at="2024-01-03T12:00Z")
    assert occurred() == "2024-01-01"


@pytest.mark.parametrize("facts", [("FAILED", "SUCCEEDED"), ("SUCCEEDED", "FAILED")])
def test_what_is_known_of_a_payment_does_not_depend_on_the_order(
    db: Ledger, facts: tuple[str, str]
) -> None:
    for status in facts:
        failed = {"occurred_at": "2024-01-01T12:00Z", "reason": "x"} if status == "FAILED" else {}
        tell(db, status, **failed)
    (kept,) = db.execute("select status, occurred_at from pgledger.payments")
    assert (kept["status"], kept["occurred_at"]) == ("SUCCEEDED", None)


def test_success_is_final_however_early_it_was(db: Ledger) -> None:
    tell(db, "FAILED", occurred_at="2200-01-01", reason="declined")
    row = tell(db, occurred_at="2000-01-01", amount=5)
    assert (row["status"], row["seq"], row["reason"]) == ("SUCCEEDED", 1, None)


def test_a_failure_is_told_once_per_change_and_leaves_the_top_up_announced(db: Ledger) -> None:
    announce(db)
    failure = ("top_up_failed", {"provider": "test", "payment_id": "p", "key": "k"})
    failure[1].update({"reason": "card_declined", "final": False})  # type: ignore[dict-item]
    tell(db, "FAILED", reason="card_declined", occurred_at="2024-01-01T00:00Z")
    tell(db, "FAILED", reason="card_declined", occurred_at="2024-01-01T00:00Z")
    tell(db, "FAILED", reason="again", occurred_at="2024-01-02T00:00Z")
    assert events(db) == [failure]
    tell(db, "PROCESSING", occurred_at="2024-01-03T00:00Z")
    tell(db, "FAILED", reason="card_declined", occurred_at="2024-01-04T00:00Z")
    assert events(db) == [failure, failure]
    assert pending(db) == {"k": "PENDING"}
    tell(db)
    assert kinds(db)[2:] == ["top_up_paid"]
    assert in_order(db)


@pytest.mark.parametrize(
    "what", ["unknown", "CANCELLED", "ENABLED", "hold", "grant", "debit", "no key"]
)
def test_a_failure_of_what_is_not_announced_is_not_told(db: Ledger, what: str) -> None:
    if what in {"CANCELLED", "ENABLED"}:
        announce(db)
        verb = "cancel_transaction" if what == "CANCELLED" else "enable_transaction"
        ask(db, verb, account_id="a", key="k")
    elif what == "hold":
        ask(db, "grant_credits", account_id="a", amount=5)
        ask(db, "hold", account_id="a", amount=5, key="k")
    elif what == "grant":
        grant = {"account_id": "a", "amount": 5, "type": "GRANT", "key": "k"}
        ask(db, "add_transaction", **grant, is_active=False)
    elif what == "debit":
        ask(db, "grant_credits", account_id="a", amount=5)
        debit = {"account_id": "a", "amount": -5, "type": "TOP_UP", "key": "k"}
        ask(db, "add_transaction", **debit, is_active=False)
    assert tell(db, "FAILED", key=None if what == "no key" else "k")["status"] == "FAILED"
    assert events(db) == []


def test_a_failed_auto_top_up_is_declined_once_per_attempt(db: Ledger) -> None:
    ask(db, "grant_credits", account_id="a", amount=1)
    ask(db, "set_auto_top_up", account_id="a", threshold=100, amount=100)
    ask(db, "check_auto_top_up", account_id="a")
    given = {"key": "#auto-1", "reason": "card_declined"}
    # Whose attempt it was is told by the worker that made it.
    tell(db, "FAILED", payment_id="p0", **given)
    assert kinds(db) == ["top_up_requested"]
    tell(db, "FAILED", **given, attempt=0)
    tell(db, "FAILED", **given, attempt=0)
    declined = [payload for kind, payload in events(db) if kind == "top_up_failed"]
    assert len(declined) == 1
    assert declined[0]["declines"] == 1
    assert declined[0]["final"] is False
    assert (declined[0]["provider"], declined[0]["payment_id"]) == ("test", "p")
    tell(db, "FAILED", payment_id="q", **given, attempt=1)
    assert kinds(db)[2:] == ["top_up_failed"]
    assert tell(db, payment_id="r", key="#auto-1")["amount"] == 100
    tell(db, "FAILED", payment_id="s", **given, attempt=2)
    assert kinds(db)[3:] == ["top_up_paid"]
    assert in_order(db)


def test_a_failure_of_another_accounts_auto_top_up_or_of_another_one_is_nothing(
    db: Ledger,
) -> None:
    ask(db, "grant_credits", account_id="a", amount=1)
    ask(db, "set_auto_top_up", account_id="a", threshold=100, amount=100)
    ask(db, "check_auto_top_up", account_id="a")
    before = len(events(db))
    given: dict[str, Any] = {"reason": "card_declined", "attempt": 0}
    tell(db, "FAILED", payment_id="p", account_id="b", key="#auto-1", **given)
    tell(db, "FAILED", payment_id="q", key="#auto-2", **given)
    assert len(events(db)) == before


def test_a_failure_of_nobodys_payment_is_not_told(db: Ledger) -> None:
    assert tell(db, "FAILED", account_id=None, reason="x")["reason"] == "x"
    assert db.execute("select from pgledger.events").fetchall() == []


def test_a_failure_of_an_auto_top_up_that_is_not_there_is_nothing(db: Ledger) -> None:
    assert tell(db, "FAILED", key="#auto-1", attempt=0)["status"] == "FAILED"
    assert db.execute("select from pgledger.balances").fetchall() == []


def test_what_is_known_first_is_not_overwritten(db: Ledger) -> None:
    tell(db, "PROCESSING", customer="cus_1", amount=5)
    row = tell(db, account_id="b", key="l", amount=6, paid=1, currency="EUR", customer="cus_2")
    assert (row["account_id"], row["key"], row["amount"]) == ("a", "k", 5)
    assert (row["paid"], row["paid_currency"]) == (500, "usd")
    assert value(db, "get_credits", account_id="a") == 5
    (linked,) = db.execute("select value from pgledger.account_identifiers").fetchall()
    assert linked["value"] == "cus_1"


def test_what_is_known_later_is_filled_in(db: Ledger) -> None:
    tell(db, key=None, paid=None, currency=None, amount=100)
    announce(db)
    row = tell(db, currency="USD", customer="cus_1", refunded=0)
    assert (row["paid"], row["paid_currency"], row["key"]) == (500, "usd", "#test-p")
    # The key came too late to be paid for, and nothing is owed under it any more.
    assert pending(db) == {"k": "CANCELLED"}
    assert posted(db, "a") == [100]
    assert tell(db)["seq"] == 1
    assert len(db.execute("select from pgledger.account_identifiers").fetchall()) == 1
    assert in_order(db)


@pytest.mark.parametrize("given", [{"account_id": "b"}, {"key": "l"}])
@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "PROCESSING"])
def test_a_credited_payment_is_nobody_elses(
    db: Ledger, given: dict[str, object], status: str
) -> None:
    announce(db)
    tell(db)
    asked = {"provider": "test", "payment_id": "p", "status": status} | given
    detail = refused(db, "LG002", "record_payment", **asked)
    assert detail["recorded"] == {"account_id": "a", "key": "k"}
    assert detail["given"] == {"account_id": None, "key": None} | given


def test_what_was_taken_back_under_its_id_is_not_what_was_paid(db: Ledger) -> None:
    debit = {"account_id": "a", "amount": -1, "type": "ADJUSTMENT", "external_id": "p"}
    ask(db, "grant_credits", account_id="a", amount=1)
    ask(db, "add_transaction", **debit)
    assert tell(db, amount=5)["seq"] == 3


def test_two_providers_may_use_one_id(db: Ledger) -> None:
    tell(db, amount=5, key=None)
    row = tell(db, provider="other", key=None, amount=5, account_id="b")
    assert (row["provider"], row["seq"]) == ("other", 1)
    # On one account an external_id has one effect: the second payment must be looked at.
    assert tell(db, provider="third", key=None, amount=5)["reason"] == "key already used"
    assert posted(db, "a") == [5]


def test_what_was_refunded_before_it_was_credited_is_taken_at_once(db: Ledger) -> None:
    announce(db)
    assert tell(db, "PROCESSING", refunded=500)["taken"] == 0
    row = tell(db)
    assert (row["refunded"], row["taken"]) == (500, 100)
    assert journal(db) == [("TOP_UP", 100), ("REFUND", -100)]
    assert in_order(db)


def test_what_is_refunded_later_is_taken_by_the_greatest_sum_told(db: Ledger) -> None:
    announce(db)
    tell(db)
    assert tell(db, refunded=250)["taken"] == 50
    assert tell(db, refunded=100)["taken"] == 50
    assert tell(db, refunded=500)["taken"] == 100
    assert in_order(db)


def test_the_price_may_be_told_after_the_refund(db: Ledger) -> None:
    announce(db)
    tell(db, paid=None, refunded=250)
    assert tell(db)["taken"] == 50


def test_nothing_may_have_been_paid(db: Ledger) -> None:
    announce(db)
    assert tell(db, paid=0)["seq"] == 1


def test_a_balance_that_would_overflow_raises_and_keeps_nothing(db: Ledger) -> None:
    ask(db, "grant_credits", account_id="a", amount=2**63 - 1)
    given = {"provider": "test", "payment_id": "p", "status": "SUCCEEDED", "account_id": "a"}
    refused(db, "22003", "record_payment", **given, amount=1)
    assert payments(db) == {}
