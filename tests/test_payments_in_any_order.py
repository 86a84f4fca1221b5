"""Whatever the order and the number of deliveries, the same facts end in the same balances."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.payments import announce, handle
from tests.support import Ledger, ask, ask_all, in_order, posted

PAYMENT = {"record": "payment", "payment_id": "p", "account_id": "a", "key": "k"}
MONEY = {"paid": 500, "currency": "usd"}
REFUND = {"record": "refund", "refund_id": "r", "payment_id": "p", "amount": 200}
DISPUTE = {"record": "dispute", "dispute_id": "d", "payment_id": "p", "amount": 500}
OTHER = {"record": "payment", "payment_id": "q", "status": "SUCCEEDED", "customer": "cus_1"}


def at(day: int) -> dict[str, str]:
    return {"occurred_at": f"2024-01-{day:02}T00:00:00Z"}


# What a provider tells of one account: two payments, one of them declined at first, refunded in
# part and disputed; and a checkout that expired.
FACTS: list[dict[str, Any]] = [
    PAYMENT | {"status": "PROCESSING"} | at(1),
    PAYMENT | {"status": "FAILED", "reason": "card_declined"} | at(2),
    PAYMENT | MONEY | {"status": "SUCCEEDED", "customer": "cus_1"} | at(3),
    PAYMENT | MONEY | {"status": "SUCCEEDED", "refunded": 200} | at(5),
    REFUND | {"status": "PENDING"} | at(4),
    REFUND | {"status": "SUCCEEDED"} | at(5),
    DISPUTE | {"status": "OPEN", "policy": "DEDUCT"} | at(6),
    DISPUTE | {"status": "WON", "policy": "DEDUCT"} | at(7),
    OTHER | MONEY | {"account_id": "a", "amount": 30} | at(3),
    {"record": "cancellation", "account_id": "a", "key": "k", "reason": "expired"},
    {"record": "cancellation", "account_id": "a", "key": "l", "reason": "expired"},
    {"record": "card_check", "check_id": "c", "account_id": "a", "amount": 5}
    | {"customer": "cus_1", "payment_method": "pm_1"},
]
DELIVERIES = st.permutations(range(len(FACTS))).flatmap(
    lambda once: st.lists(st.integers(0, len(FACTS) - 1), max_size=4).map(lambda more: once + more)
)


@pytest.fixture
def ledger(db: Ledger) -> Iterator[Ledger]:
    announce(db)
    announce(db, "l", 70)
    yield db
    assert in_order(db)


# A database serves all examples, each in a transaction that is rolled back.
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=DELIVERIES)
def test_the_same_facts_end_in_the_same_balances(ledger: Ledger, order: list[int]) -> None:
    with ledger.transaction(force_rollback=True):
        for place, number in enumerate(order):
            row = handle(ledger, FACTS[number], event_id=f"e{place}")
            assert row["status"] == "PROCESSED", row["error"]
        # 100 bought, 2 of 5 of it refunded; 30 of another payment; 5 for the card.
        assert sum(posted(ledger, "a")) == 100 - 40 + 30 + 5
        found = {row["payment_id"]: row for row in ask_all(ledger, "list_payments")}
        assert (found["p"]["status"], found["p"]["amount"], found["p"]["taken"]) == (
            "SUCCEEDED",
            100,
            40,
        )
        assert (found["p"]["reason"], found["q"]["reason"]) == (None, None)
        assert found["q"]["seq"] is not None
        assert ask(ledger, "get_transaction", account_id="a", key="l")["status"] == "CANCELLED"
        kinds = [row["kind"] for row in ask_all(ledger, "list_events", account_id="a")]
        assert kinds.count("top_up_paid") == 2
        assert kinds.count("dispute_opened") <= 1
        assert in_order(ledger)
