from datetime import timedelta
from typing import Any

import pytest

from tests.refunds import approved, decide, paid_top_up, refunded_money, request, the_request
from tests.support import Ledger, ask, ask_all, in_order


@pytest.fixture
def promised(db: Ledger) -> Ledger:
    """An account a whose refund of 40 credits, 400 cents, is approved under r."""
    paid_top_up(db)
    approved(db, amount=40)
    return db


def claim(db: Ledger, **more: object) -> list[dict[str, Any]]:
    return ask_all(db, "claim_refunds", **more)


def let_lease_end(db: Ledger) -> None:
    db.execute("update pgledger.refund_requests set due_at = now() where due_at is not null")


def test_what_is_approved_is_handed_out_with_all_that_a_provider_needs(promised: Ledger) -> None:
    (order,) = claim(promised)
    assert len(order.pop("idempotency_key")) == len("pgledger-") + 64
    assert order == {
        "account_id": "a",
        "key": "r",
        "amount": 40,
        "provider": "stripe",
        "payment_id": "pi_1",
        "money": 400,
        "money_currency": "usd",
        "claims": 1,
    }
    assert in_order(promised)


def test_nobody_else_has_it_before_the_lease_is_over(promised: Ledger) -> None:
    (first,) = claim(promised, lease="1 hour")
    assert claim(promised) == []
    row = the_request(promised)
    assert row["due_at"] - row["decided_at"] > timedelta(minutes=59)
    let_lease_end(promised)
    (second,) = claim(promised)
    assert second == first | {"claims": 2}


def test_the_lease_is_five_minutes_unless_said_otherwise(promised: Ledger) -> None:
    claim(promised)
    row = the_request(promised)
    assert timedelta(minutes=4) < row["due_at"] - row["decided_at"] < timedelta(minutes=6)


def test_accounts_use_keys_of_their_own(promised: Ledger) -> None:
    paid_top_up(promised, account_id="b", payment_id="pi_2")
    asked = request(promised, key="r", account_id="b", amount=10)
    decide(promised, "approve", asked["key"], account_id="b")
    (first,) = claim(promised, limit_count=1)
    (second,) = claim(promised)
    assert [(row["account_id"], row["amount"]) for row in (first, second)] == [("a", 40), ("b", 10)]


def test_the_idempotency_key_is_that_of_the_account_and_the_key(db: Ledger) -> None:
    for account_id, key in (("a", "bc"), ("ab", "c"), ("a", "b")):
        paid_top_up(db, key, account_id=account_id, payment_id=f"pi_{account_id}-{key}")
        asked = request(db, key, account_id=account_id, key=f"{key}!")
        decide(db, "approve", asked["key"], account_id=account_id)
    keys = {order["idempotency_key"] for order in claim(db)}
    assert len(keys) == 3


@pytest.mark.parametrize("verb", [None, "reject"])
def test_what_is_not_approved_is_not_handed_out(db: Ledger, verb: str | None) -> None:
    paid_top_up(db)
    request(db, key="r")
    if verb:
        decide(db, verb, "r")
    assert claim(db) == []


def test_what_has_no_payment_is_not_handed_out(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100, key="paid")
    approved(db)
    assert claim(db) == []


@pytest.mark.parametrize("status", ["PENDING", "SUCCEEDED", "FAILED"])
def test_what_the_provider_has_told_of_is_not_handed_out(promised: Ledger, status: str) -> None:
    refunded_money(promised, "re_1", 400, status, request_key="r")
    assert claim(promised) == []


def test_each_provider_is_handed_its_own(db: Ledger) -> None:
    paid_top_up(db)
    paid_top_up(db, "other", payment_id="x_1")
    db.execute("update pgledger.payments set provider = 'other' where payment_id = 'x_1'")
    approved(db, "r")
    approved(db, "s", original_key="other")
    assert [order["key"] for order in claim(db, provider="other")] == ["s"]
    assert claim(db, provider="unknown") == []
    assert [order["key"] for order in claim(db)] == ["r"]


def test_the_oldest_come_first_and_as_many_as_asked_for(db: Ledger) -> None:
    for number in range(3):
        paid_top_up(db, f"k{number}", payment_id=f"pi_{number}")
        approved(db, f"r{number}", original_key=f"k{number}")
    db.execute(
        "update pgledger.refund_requests set due_at = due_at - interval '1 hour' where key = 'r2'"
    )
    assert [order["key"] for order in claim(db, limit_count=2)] == ["r2", "r0"]
    assert [order["key"] for order in claim(db, limit_count=2)] == ["r1"]
