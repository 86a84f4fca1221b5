from typing import Any

import pytest

from tests.refunds import decide, paid_top_up, request
from tests.support import Ledger, ask_all


@pytest.fixture
def several(db: Ledger) -> Ledger:
    """Requests of two accounts: one open each, one approved, one rejected."""
    for account_id in ("a", "b"):
        for key in ("k1", "k2"):
            paid_top_up(db, key, account_id=account_id, payment_id=f"pi_{account_id}{key}")
            request(db, key, account_id=account_id, key=f"{account_id}-{key}")
    decide(db, "approve", "a-k1")
    decide(db, "reject", "b-k1", account_id="b")
    return db


def keys(db: Ledger, **given: object) -> list[str]:
    return [row["key"] for row in ask_all(db, "list_refund_requests", **given)]


def test_the_newest_come_first(several: Ledger) -> None:
    assert keys(several) == ["b-k2", "b-k1", "a-k2", "a-k1"]
    assert keys(several, limit_count=2) == ["b-k2", "b-k1"]


def test_they_are_filtered_by_status_and_account(several: Ledger) -> None:
    assert keys(several, status="PENDING") == ["b-k2", "a-k2"]
    assert keys(several, status="APPROVED") == ["a-k1"]
    assert keys(several, account_id="a") == ["a-k2", "a-k1"]
    assert keys(several, status="REJECTED", account_id="b") == ["b-k1"]
    assert keys(several, status="REJECTED", account_id="a") == []
    assert keys(several, account_id="unknown") == []


@pytest.mark.parametrize("given", [{}, {"account_id": "a"}])
def test_pages_follow_each_other_without_a_gap(several: Ledger, given: dict[str, Any]) -> None:
    several.execute("update pgledger.refund_requests set created_at = '2020-01-01'")
    whole = keys(several, **given)
    assert whole == sorted(whole, reverse=True)
    paged: list[dict[str, Any]] = []
    while page := ask_all(
        several,
        "list_refund_requests",
        **given,
        limit_count=1,
        **(
            {f"before_{name}": paged[-1][name] for name in ("account_id", "key")}
            | {"before_at": paged[-1]["created_at"]}
            if paged
            else {}
        ),
    ):
        paged += page
    assert [row["key"] for row in paged] == whole
    assert keys(several, **given, before_at="2020-01-01") == []
