"""capture_usage: what was really used is charged to a hold of hold_usage, and beside it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.prices import set_price
from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    day,
    events,
    give,
    in_order,
    journal,
    left,
    let_expire,
    let_pass,
    paid,
    pool,
    posted,
    refused,
    refused_as_row,
    replayed,
    unreckoned,
    value,
)

LATER = datetime(2200, 1, 1, tzinfo=UTC)
# Two ways through the same: with metadata a capture is judged under the lock.
WAYS: list[dict[str, Any]] = [{}, {"metadata": {"y": 2}}]
H: dict[str, Any] = {"account_id": "a", "key": "h"}


def held(db: Ledger, quantity: float = 40, **more: object) -> None:
    given: dict[str, Any] = {"account_id": "a", "code": "m", "key": "h", "reference": "r"}
    ask(db, "hold_usage", **(given | {"quantities": {"in": quantity}} | more))


@pytest.fixture
def priced(db: Ledger) -> Ledger:
    """A ledger of 100 credits in which one of m costs a credit, rounded up; 40 of it are held."""
    set_price(db, "m", {"in": 1, "free": 0})
    ask(db, "top_up", account_id="a", amount=100)
    held(db, metadata={"x": 1})
    return db


def usage_of(db: Ledger, key: str) -> Any:  # noqa: ANN401 - an object, or None
    return ask(db, "get_transaction", account_id="a", key=key)["usage"]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(
    ("quantity", "amount"), [(40, -40), (39, -39), (0.001, -1), (1, -1), (39.5, -40)]
)
def test_what_was_used_is_captured_and_the_rest_released(
    priced: Ledger, way: dict[str, Any], quantity: float, amount: int
) -> None:
    row = ask(priced, "capture_usage", **H, quantities={"in": quantity}, **way)
    del row["created_at"]
    assert row == {
        "account_id": "a",
        "key": "h",
        "seq": 2,
        "type": "USAGE",
        "amount": amount,
        "requested_amount": amount,
        "running_balance": 100 + amount,
        "balance": 100 + amount,
        "available": 100 + amount,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    recorded = ask(priced, "get_transaction", **H)
    assert recorded["usage"]["breakdown"]["in"]["quantity"] == quantity
    assert recorded["usage"]["exact"] == quantity
    assert recorded["reference"] == "r"
    assert recorded["metadata"] == {"x": 1} | way.get("metadata", {})
    assert in_order(priced)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("prices", [{"in": 9, "free": 9}, {"in": 0.1}, {}])
def test_the_prices_are_those_of_the_hold(
    priced: Ledger, way: dict[str, Any], prices: dict[str, int]
) -> None:
    set_price(priced, "m", prices)
    row = ask(priced, "capture_usage", **H, quantities={"in": 30, "free": 7}, **way)
    assert row["amount"] == -30
    assert (
        usage_of(priced, "h")["valid_from"]
        < ask_all(priced, "list_prices", include_past=True, code="m")[0]["valid_from"]
        .astimezone(UTC)
        .isoformat()
        or not prices
    )
    assert in_order(priced)


@pytest.mark.parametrize("quantity", [0.5, 10, 40, 41, 60])
def test_a_repeat_changes_nothing(priced: Ledger, quantity: float) -> None:
    given = H | {"quantities": {"in": quantity}}
    first = ask(priced, "capture_usage", **given)
    set_price(priced, "m", {"in": 5})
    for way in WAYS:
        assert replayed(priced, "capture_usage", **given, **way) == first | {"replayed": True}
    row = replayed(priced, "capture_usage", **given, shortfall="DEBT", raise_refusals=False)
    assert row["seq"] == first["seq"]
    replayed(priced, "capture", **H)
    assert replayed(priced, "hold_usage", **H, code="m", quantities={"in": 40})["seq"] == 2
    refused(priced, "LG002", "hold_usage", **H, code="m", quantities={"in": quantity + 0.1})
    refused(priced, "LG007", "release", **H)
    for other in ({"in": quantity + 0.1}, {"in": quantity, "free": 0}, {"unknown": 1}):
        details = refused(priced, "LG002", "capture_usage", **H, quantities=other)
        assert details["recorded"]["usage"] == {"code": "m", "quantities": {"in": quantity}}
        assert details["given"]["usage"] == {"code": "m", "quantities": other}
        refused_as_row(priced, "LG002", "capture_usage", **H, quantities=other)


def test_a_plain_capture_of_the_whole_was_of_the_estimate(priced: Ledger) -> None:
    ask(priced, "capture", **H)
    replayed(priced, "capture_usage", **H, quantities={"in": 40})
    refused(priced, "LG002", "capture_usage", **H, quantities={"in": 39})


def test_a_plain_capture_of_another_amount_was_of_no_usage(priced: Ledger) -> None:
    ask(priced, "capture", **H, amount=39)
    details = refused(priced, "LG002", "capture_usage", **H, quantities={"in": 39})
    assert details["recorded"]["usage"] is None


# Nothing to charge


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_costs_nothing_releases_the_hold(priced: Ledger, way: dict[str, Any]) -> None:
    given = H | {"quantities": {"in": 0, "free": 3}}
    row = ask(priced, "capture_usage", **given, **way)
    assert (row["status"], row["available"], row["replayed"]) == ("CANCELLED", 100, False)
    assert posted(priced, "a") == [100]
    assert replayed(priced, "capture_usage", **given, **way) == row | {"replayed": True}
    for other in ({"in": 0}, {"in": 1}):
        details = refused(priced, "LG002", "capture_usage", **H, quantities=other)
        assert details["recorded"]["usage"]["quantities"] == {"in": 0, "free": 3}
    replayed(priced, "release", **H)
    assert (
        replayed(priced, "hold_usage", **H, code="m", quantities={"in": 40})["status"]
        == "CANCELLED"
    )
    assert usage_of(priced, "h")["used"]["breakdown"]["free"]["quantity"] == 3
    assert in_order(priced)


# Above the hold


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_costs_more_than_is_held_is_charged_beside_it(
    priced: Ledger, way: dict[str, Any]
) -> None:
    row = ask(priced, "capture_usage", **H, quantities={"in": 70}, **way)
    del row["created_at"]
    assert row == {
        "account_id": "a",
        "key": "h",
        "seq": 2,
        "type": "USAGE",
        "amount": -40,
        "requested_amount": -70,
        "running_balance": 60,
        "balance": 30,
        "available": 30,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    assert usage_of(priced, "h")["exact"] == 70
    excess = ask(priced, "get_transaction", account_id="a", key="#excess-2")
    assert (excess["seq"], excess["type"], excess["amount"]) == (3, "USAGE", -30)
    assert excess["usage"] is None
    captured = ask(priced, "get_transaction", **H)
    assert excess["reference"] == captured["reference"] == "r"
    assert excess["metadata"] == captured["metadata"] == {"x": 1} | way.get("metadata", {})
    assert excess["created_at"] == captured["created_at"]
    (used,) = ask_all(priced, "usage_by_reference", account_id="a")
    assert (used["amount"], used["spends"]) == (-70, 2)
    assert in_order(priced)


def test_what_is_not_there_refuses_the_whole(priced: Ledger) -> None:
    given = H | {"quantities": {"in": 101}}
    details = refused(priced, "LG001", "capture_usage", **given)
    assert (details["key"], details["requested"], details["missing"]) == ("h", 61, 1)
    assert (details["balance"], details["held"], details["available"]) == (100, 40, 60)
    row = refused_as_row(priced, "LG001", "capture_usage", **given)
    assert (row["requested_amount"], row["balance"], row["available"]) == (-101, 100, 60)
    assert ask(priced, "capture_usage", **H, quantities={"in": 100})["balance"] == 0
    assert in_order(priced)


def test_part_of_it_is_charged_when_asked_for(priced: Ledger) -> None:
    row = ask(priced, "capture_usage", **H, quantities={"in": 150}, shortfall="PARTIAL")
    assert (row["amount"], row["requested_amount"], row["balance"]) == (-40, -150, 0)
    excess = ask(priced, "get_transaction", account_id="a", key="#excess-2")
    assert (excess["amount"], excess["requested_amount"]) == (-60, -110)
    assert in_order(priced)


@pytest.mark.parametrize("nothing", ["no credits", "no cap", "frozen"])
def test_nothing_of_it_is_charged_where_nothing_is_there(priced: Ledger, nothing: str) -> None:
    if nothing == "no credits":
        ask(priced, "spend", account_id="a", amount=60)
    elif nothing == "no cap":
        ask(priced, "set_spending_cap", account_id="a", amount=40)
    else:
        ask(priced, "set_account_status", account_id="a", status="FROZEN")
    given = H | {"quantities": {"in": 41}}
    code = {"no credits": "LG001", "no cap": "LG008", "frozen": "LG004"}[nothing]
    for shortfall in ("REFUSE", "DEBT"):
        refused(priced, code, "capture_usage", **given, shortfall=shortfall)
        refused_as_row(priced, code, "capture_usage", **given, shortfall=shortfall)
    row = ask(priced, "capture_usage", **given, shortfall="PARTIAL")
    assert (row["amount"], row["requested_amount"]) == (-40, -41)
    assert journal(priced)[-1] == ("USAGE", -40)
    assert replayed(priced, "capture_usage", **given)["requested_amount"] == -41
    assert in_order(priced)


def test_it_goes_into_debt_when_asked_for(priced: Ledger) -> None:
    ask(priced, "set_limits", account_id="a", min_balance=0, debt_floor=-10)
    given = H | {"shortfall": "DEBT"}
    details = refused(priced, "LG001", "capture_usage", **given, quantities={"in": 111})
    assert details["floor"] == -10
    row = ask(priced, "capture_usage", **given, quantities={"in": 110})
    assert (row["amount"], row["balance"]) == (-40, -10)
    assert in_order(priced)


def test_a_cap_limits_what_is_above_the_hold(priced: Ledger) -> None:
    ask(priced, "set_spending_cap", account_id="a", amount=50)
    given = H | {"quantities": {"in": 51}}
    details = refused(priced, "LG008", "capture_usage", **given)
    assert (details["requested"], details["remaining"]) == (11, 10)
    row = ask(priced, "capture_usage", **given, shortfall="PARTIAL")
    assert (row["amount"], row["balance"]) == (-40, 50)
    assert ask(priced, "get_spending_cap", account_id="a")["used"] == 50
    assert in_order(priced)


def test_a_cap_below_the_hold_does_not_stop_its_capture(priced: Ledger) -> None:
    ask(priced, "set_spending_cap", account_id="a", amount=5)
    assert ask(priced, "capture_usage", **H, quantities={"in": 40})["amount"] == -40
    assert in_order(priced)


def test_a_cap_that_is_exceeded_beyond_all_bounds_is_no_number_too_large(priced: Ledger) -> None:
    forced = {"type": "USAGE", "fail_insufficient_credits": False}
    ask(priced, "add_transaction", account_id="a", amount=-HIGHEST, **forced)
    ask(priced, "set_spending_cap", account_id="a", amount=0)
    given = H | {"quantities": {"in": 41}}
    refused(priced, "LG008", "capture_usage", **given)
    assert ask(priced, "capture_usage", **given, shortfall="PARTIAL")["amount"] == -40
    assert in_order(priced)


def test_a_frozen_account_pays_what_it_held(priced: Ledger) -> None:
    ask(priced, "set_account_status", account_id="a", status="FROZEN")
    assert ask(priced, "capture_usage", **H, quantities={"in": 40})["amount"] == -40
    assert in_order(priced)


def test_lots_pay_for_both(db: Ledger) -> None:
    set_price(db, "m", {"in": 1})
    for key, amount, days in (("one", 30, 1), ("two", 30, 2), ("three", 30, 3)):
        give(db, key, amount, day(days))
    ask(db, "top_up", account_id="a", amount=20)
    held(db)
    ask(db, "capture_usage", **H, quantities={"in": 95})
    assert paid(db, "h") == [("one", 30), ("two", 10)]
    assert paid(db, "#excess-5") == [("two", 20), ("three", 30), (None, 5)]
    assert (left(db), pool(db)) == ({}, 15)
    assert unreckoned(db) == []
    ask(db, "spend", account_id="a", amount=15)
    assert unreckoned(db) == []


@pytest.mark.parametrize("quantity", [25, 40, 55])
def test_a_hold_in_a_lot_that_has_ended_is_captured(db: Ledger, quantity: int) -> None:
    set_price(db, "m", {"in": 1})
    give(db, "one", 50, day(1))
    ask(db, "top_up", account_id="a", amount=100)
    held(db)
    let_pass(db, "2 days")
    row = ask(db, "capture_usage", **H, quantities={"in": quantity})
    assert row["available"] == 100 - max(quantity - 40, 0)
    assert paid(db, "h") == [("one", min(quantity, 40))]
    assert unreckoned(db) == []


@pytest.mark.parametrize("quantity", [25, 40, 55, 100])
def test_a_hold_in_several_lots_is_captured(db: Ledger, quantity: int) -> None:
    set_price(db, "m", {"in": 1})
    give(db, "one", 30, day(1))
    ask(db, "top_up", account_id="a", amount=100)
    held(db)
    ask(db, "spend", account_id="a", amount=20)
    row = ask(db, "capture_usage", **H, quantities={"in": quantity})
    assert row["balance"] == 110 - quantity
    assert unreckoned(db) == []


def test_what_is_above_the_hold_tells_the_outbox_and_tops_up(priced: Ledger) -> None:
    ask(priced, "set_low_balance_level", account_id="a", level=50)
    ask(priced, "set_auto_top_up", account_id="a", threshold=40, amount=500, mode="INSTANT")
    row = ask(priced, "capture_usage", **H, quantities={"in": 70})
    assert (row["amount"], row["balance"], row["available"]) == (-40, 530, 530)
    assert journal(priced) == [("TOP_UP", 100), ("USAGE", -40), ("USAGE", -30), ("TOP_UP", 500)]
    assert [kind for kind, _ in events(priced)][:1] == ["low_balance"]
    assert in_order(priced)


def test_credits_that_are_due_are_there(priced: Ledger) -> None:
    ask(priced, "hold", account_id="a", amount=50, key="due", expires_at=LATER)
    let_expire(priced, "due")
    assert ask(priced, "capture_usage", **H, quantities={"in": 100})["balance"] == 0
    assert in_order(priced)


# What cannot be captured


@pytest.mark.parametrize("quantity", [0, 1, 50])
def test_only_an_open_hold_is_captured(priced: Ledger, quantity: int) -> None:
    given: dict[str, Any] = {"account_id": "a", "quantities": {"in": quantity}}
    refused(priced, "LG006", "capture_usage", **given, key="unknown")
    refused_as_row(priced, "LG006", "capture_usage", **given, key="unknown")
    ask(priced, "release", **H)
    assert refused(priced, "LG007", "capture_usage", **given, key="h")["status"] == "CANCELLED"
    held(priced, key="i", expires_at=LATER)
    let_expire(priced, "i")
    assert refused(priced, "LG007", "capture_usage", **given, key="i")["status"] == "EXPIRED"
    ask(priced, "run_due")
    refused_as_row(priced, "LG007", "capture_usage", **given, key="i")
    ask(priced, "spend", account_id="a", amount=1, key="spent")
    assert refused(priced, "LG007", "capture_usage", **given, key="spent")["status"] == "POSTED"
    refused(priced, "LG006", "capture_usage", **(given | {"account_id": "b"}), key="h")
    assert in_order(priced)


def test_only_a_hold_of_usage_is_captured_by_usage(priced: Ledger) -> None:
    ask(priced, "hold", account_id="a", amount=5, key="plain")
    ask(priced, "top_up", account_id="a", amount=5, key="paid", is_active=False)
    for key in ("plain", "paid"):
        given = {"account_id": "a", "quantities": {"in": 5}, "key": key}
        assert refused(priced, "22023", "capture_usage", **given)["parameter"] == "key"
    ask(priced, "capture", account_id="a", key="plain")
    details = refused(
        priced, "22023", "capture_usage", account_id="a", quantities={"in": 5}, key="plain"
    )
    assert details["parameter"] == "key"


def test_a_unit_that_the_hold_had_no_price_for_leaves_it_open(priced: Ledger) -> None:
    set_price(priced, "m", {"in": 1, "free": 0, "image": 1})
    given = H | {"quantities": {"in": 1, "image": 1}}
    details = refused(priced, "LG011", "capture_usage", **given)
    assert (details["key"], details["unit"], details["units"]) == ("h", "image", ["free", "in"])
    row = refused_as_row(priced, "LG011", "capture_usage", **given)
    assert row["requested_amount"] is None
    refused(priced, "22003", "capture_usage", **H, quantities={"in": 10**39})
    refused_as_row(priced, "22003", "capture_usage", **H, quantities={"in": 10**39})
    assert value(priced, "get_credits", account_id="a") == 60


@pytest.mark.parametrize("parameter", ["account_id", "key", "quantities", "shortfall"])
def test_what_was_used_must_be_given(priced: Ledger, parameter: str) -> None:
    given = H | {"quantities": {"in": 1}, "shortfall": "REFUSE", parameter: None}
    assert refused(priced, "22004", "capture_usage", **given)["parameter"] == parameter


def test_misuse_is_refused_before_anything(priced: Ledger) -> None:
    wrongs: list[dict[str, Any]] = [
        {"quantities": {"in": -1}},
        {"quantities": {}},
        {"shortfall": "FORCE"},
    ]
    for wrong in wrongs:
        given = H | {"quantities": {"in": 1}} | wrong
        refused(priced, "22023", "capture_usage", **given)
        refused(priced, "22023", "capture_usage", **(given | {"key": "unknown"}))
    for key, quantity in (("h", 1), ("h", 0), ("unknown", 1)):
        given = {"account_id": "a", "key": key, "quantities": {"in": quantity}}
        details = refused(priced, "22023", "capture_usage", **given, metadata=[1])
        assert details["parameter"] == "metadata"
    for quantity in (1, 50):
        details = refused(
            priced,
            "22023",
            "capture_usage",
            **H,
            quantities={"in": quantity},
            metadata={str(n): n for n in range(20_000)},
        )
        assert details["parameter"] == "metadata"


@pytest.mark.parametrize("quantity", [10, 60])
def test_a_capture_can_be_reversed(priced: Ledger, quantity: int) -> None:
    ask(priced, "capture_usage", **H, quantities={"in": quantity})
    row = ask(priced, "reverse_transaction", account_id="a", original_key="h")
    assert row["amount"] == min(quantity, 40)
    if quantity > 40:
        row = ask(priced, "reverse_transaction", account_id="a", original_key="#excess-2")
        assert (row["amount"], row["balance"]) == (quantity - 40, 100)
    assert in_order(priced)
