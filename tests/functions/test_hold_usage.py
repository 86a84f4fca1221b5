"""hold_usage: what an estimate costs is reserved."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.prices import set_price
from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    in_order,
    let_expire,
    posted,
    refused,
    refused_as_row,
    replayed,
    value,
)

LATER = datetime(2200, 1, 1, tzinfo=UTC)
ESTIMATE = {"in": 1000, "out": 500}
GIVEN: dict[str, Any] = {"account_id": "a", "code": "m", "quantities": ESTIMATE, "key": "h"}


@pytest.fixture
def priced(db: Ledger) -> Ledger:
    """A ledger in which ESTIMATE of m costs 15 (exactly 15), of 100 credits."""
    set_price(db, "m", {"in": 0.005, "out": 0.02})
    ask(db, "top_up", account_id="a", amount=100)
    return db


def test_what_the_estimate_costs_is_reserved(priced: Ledger) -> None:
    row = ask(priced, "hold_usage", **GIVEN, expires_at=LATER, reference="r", metadata={"x": 1})
    del row["created_at"]
    assert row == {
        "account_id": "a",
        "key": "h",
        "seq": None,
        "type": "USAGE",
        "amount": -15,
        "requested_amount": -15,
        "running_balance": None,
        "balance": 100,
        "available": 85,
        "status": "PENDING",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    held = ask(priced, "get_transaction", account_id="a", key="h")
    assert (held["reference"], held["metadata"], held["expires_at"]) == ("r", {"x": 1}, LATER)
    told = ask(priced, "price", code="m", quantities=ESTIMATE)
    assert held["usage"]["breakdown"] == told["breakdown"]
    assert held["usage"]["exact"] == 15
    assert posted(priced, "a") == [100]
    assert in_order(priced)


@pytest.mark.parametrize("way", ["short path", "under the lock"])
def test_an_estimate_is_recorded_either_way(priced: Ledger, way: str) -> None:
    if way == "under the lock":
        ask(priced, "hold", account_id="a", amount=1, key="due", expires_at=LATER)
        let_expire(priced, "due")
    ask(priced, "hold_usage", **GIVEN)
    assert ask(priced, "get_transaction", account_id="a", key="h")["usage"]["exact"] == 15
    assert value(priced, "get_credits", account_id="a") == 85
    assert in_order(priced)


def test_a_hold_without_a_key_gets_one(priced: Ledger) -> None:
    row = ask(priced, "hold_usage", **(GIVEN | {"key": None}))
    assert ask(priced, "release", account_id="a", key=row["key"])["available"] == 100


@pytest.mark.parametrize("prices", [{"in": 1, "out": 1}, {"in": 0, "out": 0}, {"in": 1}, {}])
@pytest.mark.parametrize("expires_at", [None, LATER])
def test_a_repeat_is_answered_whatever_the_price_is_now(
    priced: Ledger, prices: dict[str, int], expires_at: datetime | None
) -> None:
    first = ask(priced, "hold_usage", **GIVEN, expires_at=expires_at)
    set_price(priced, "m", prices)
    again = replayed(priced, "hold_usage", **GIVEN, expires_at=expires_at)
    assert again == first | {"replayed": True}
    ask(priced, "release", account_id="a", key="h")
    row = replayed(priced, "hold_usage", **GIVEN, expires_at=expires_at, raise_refusals=False)
    assert row["status"] == "CANCELLED"


@pytest.mark.parametrize(
    "other",
    [
        {"quantities": ESTIMATE | {"in": 1001}},
        {"quantities": {"unknown": 1}},
        {"quantities": {"in": 0}},
        {"code": "n"},
        {"code": "unknown"},
        {"expires_at": LATER},
    ],
    ids=str,
)
def test_another_estimate_under_a_key_is_a_conflict(priced: Ledger, other: dict[str, Any]) -> None:
    set_price(priced, "n", {"in": 0.005, "out": 0.02})
    ask(priced, "hold_usage", **GIVEN)
    details = refused(priced, "LG002", "hold_usage", **(GIVEN | other))
    assert details["recorded"]["usage"] == {"code": "m", "quantities": ESTIMATE}
    refused_as_row(priced, "LG002", "hold_usage", **(GIVEN | other))


def test_a_plain_hold_and_one_of_usage_are_not_each_other(priced: Ledger) -> None:
    ask(priced, "hold_usage", **GIVEN)
    refused(priced, "LG002", "hold", account_id="a", amount=15, key="h")
    refused(priced, "LG002", "spend_usage", **GIVEN)
    ask(priced, "hold", account_id="a", amount=15, key="plain")
    refused(priced, "LG002", "hold_usage", **(GIVEN | {"key": "plain"}))
    ask(priced, "spend_usage", **(GIVEN | {"key": "spent"}))
    refused(priced, "LG002", "hold_usage", **(GIVEN | {"key": "spent"}))


@pytest.mark.parametrize("account_id", ["a", "unknown"])
def test_what_costs_nothing_needs_no_hold(priced: Ledger, account_id: str) -> None:
    given = GIVEN | {"account_id": account_id, "quantities": {"in": 0}}
    details = refused(priced, "22023", "hold_usage", **given)
    assert details["parameter"] == "quantities"
    refused(priced, "22023", "hold_usage", **given, raise_refusals=False)


def test_what_has_no_price_is_not_held(priced: Ledger) -> None:
    for wrong in ({"code": "unknown"}, {"quantities": {"unknown": 1}}):
        assert refused(priced, "LG011", "hold_usage", **(GIVEN | wrong))["account_id"] == "a"
        refused_as_row(priced, "LG011", "hold_usage", **(GIVEN | wrong))
    refused(priced, "22003", "hold_usage", **(GIVEN | {"quantities": {"in": 10**39}}))


def test_a_shortage_is_that_of_a_hold(priced: Ledger) -> None:
    given = GIVEN | {"quantities": {"in": 20_001}}
    assert refused(priced, "LG001", "hold_usage", **given)["missing"] == 1
    assert refused_as_row(priced, "LG001", "hold_usage", **given)["requested_amount"] == -101
    ask(priced, "set_spending_cap", account_id="a", amount=14)
    assert refused(priced, "LG008", "hold_usage", **GIVEN)["remaining"] == 14
    ask(priced, "set_account_status", account_id="a", status="FROZEN")
    refused(priced, "LG004", "hold_usage", **GIVEN)
    refused(priced, "LG001", "hold_usage", **(GIVEN | {"account_id": "b"}))


@pytest.mark.parametrize("parameter", ["code", "quantities"])
def test_an_estimate_must_be_given(priced: Ledger, parameter: str) -> None:
    details = refused(priced, "22004", "hold_usage", **(GIVEN | {parameter: None}))
    assert details["parameter"] == parameter


@pytest.mark.parametrize("expires_at", ["infinity", "-infinity", "2000-01-01"])
def test_a_hold_expires_in_the_future(priced: Ledger, expires_at: str) -> None:
    refused(priced, "22023", "hold_usage", **GIVEN, expires_at=expires_at)


# What a hold was before there were prices


def test_a_plain_capture_of_the_whole_is_of_the_estimate(priced: Ledger) -> None:
    ways: dict[str, dict[str, Any]] = {
        "short": {},
        "amount": {"amount": 15},
        "under the lock": {"metadata": {"x": 1}},
        "both": {"amount": 15, "metadata": {"x": 1}},
    }
    for key, way in ways.items():
        ask(priced, "hold_usage", **(GIVEN | {"key": key}))
        ask(priced, "capture", account_id="a", key=key, **way)
        usage = ask(priced, "get_transaction", account_id="a", key=key)["usage"]
        assert usage["breakdown"]["in"]["quantity"] == 1000, key
    assert in_order(priced)


@pytest.mark.parametrize("metadata", [None, {"x": 1}])
def test_a_plain_capture_of_another_amount_tells_no_usage(
    priced: Ledger, metadata: dict[str, int] | None
) -> None:
    ask(priced, "hold_usage", **GIVEN)
    row = ask(priced, "capture", account_id="a", key="h", amount=14, metadata=metadata)
    assert (row["amount"], row["available"]) == (-14, 86)
    assert ask(priced, "get_transaction", account_id="a", key="h")["usage"] is None
    assert replayed(priced, "hold_usage", **GIVEN)["amount"] == -14
    assert in_order(priced)


def test_a_hold_of_usage_is_released_and_expires_like_any_other(priced: Ledger) -> None:
    ask(priced, "hold_usage", **GIVEN)
    assert ask(priced, "release", account_id="a", key="h")["available"] == 100
    ask(priced, "hold_usage", **(GIVEN | {"key": "i"}), expires_at=LATER)
    let_expire(priced, "i")
    assert value(priced, "get_credits", account_id="a") == 100
    assert value(priced, "run_due") == 1
    assert ask_all(priced, "history", account_id="a")[0]["amount"] == 100
    assert in_order(priced)


def test_a_hold_is_a_bigint(priced: Ledger) -> None:
    set_price(priced, "m", {"in": 1})
    ask(priced, "open_account", account_id="b", min_balance=-HIGHEST)
    given = GIVEN | {"account_id": "b", "quantities": {"in": HIGHEST}}
    assert ask(priced, "hold_usage", **given)["available"] == -HIGHEST
