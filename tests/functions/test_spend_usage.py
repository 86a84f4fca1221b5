"""spend_usage: what was used is priced and spent at once, and a repeat is told by what was used."""

import re
from datetime import UTC, datetime
from decimal import Decimal
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
    everything,
    give,
    head,
    in_order,
    journal,
    left,
    let_expire,
    paid,
    pool,
    posted,
    refused,
    refused_as_row,
    replayed,
    unreckoned,
    write_history,
)

USED = {"in": 1200, "out": 350}
GIVEN: dict[str, Any] = {"account_id": "a", "code": "m", "quantities": USED, "key": "k"}


@pytest.fixture
def priced(db: Ledger) -> Ledger:
    """A ledger in which USED of m costs 4 (exactly 3.9), and anything of free nothing."""
    set_price(db, "m", {"in": 0.0015, "out": 0.006})
    set_price(db, "free", {"in": 0})
    ask(db, "top_up", account_id="a", amount=100)
    return db


def usage_of(db: Ledger, key: str) -> Any:  # noqa: ANN401 - an object, or None
    return ask(db, "get_transaction", account_id="a", key=key)["usage"]


def same(first: Any, second: Any) -> bool:  # noqa: ANN401 - answers of the ledger
    """Tell whether two answers are one, but for being a repeat."""
    return bool(first | {"replayed": True} == second)


def test_usage_is_priced_and_spent(priced: Ledger) -> None:
    row = ask(priced, "spend_usage", **GIVEN, reference="chat", metadata={"x": 1})
    created_at = row.pop("created_at")
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": 2,
        "type": "USAGE",
        "amount": -4,
        "requested_amount": -4,
        "running_balance": 96,
        "balance": 96,
        "available": 96,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    recorded = ask(priced, "get_transaction", account_id="a", key="k")
    assert (recorded["reference"], recorded["metadata"]) == ("chat", {"x": 1})
    assert recorded["created_at"] == created_at
    assert in_order(priced)


def test_its_price_is_recorded_with_it(priced: Ledger) -> None:
    ask(priced, "spend_usage", **GIVEN)
    told = ask(priced, "price", code="m", quantities=USED)
    assert usage_of(priced, "k") == {
        "code": "m",
        "valid_from": told["valid_from"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "rounding": "CEIL",
        "exact": 3.9,
        "breakdown": {
            "in": {"quantity": 1200, "credits_per_unit": 0.0015, "credits": 1.8},
            "out": {"quantity": 350, "credits_per_unit": 0.006, "credits": 2.1},
        },
    }
    (row, _) = ask_all(priced, "history", account_id="a")
    assert row["usage"] == usage_of(priced, "k")
    # To the last digit, whatever a float would make of it.
    set_price(priced, "tiny", {"in": "0.1234567890123456789012345678901"})
    ask(priced, "spend_usage", account_id="a", code="tiny", quantities={"in": 1}, key="tiny")
    (text,) = priced.execute(
        "select usage ->> 'exact' as exact from pgledger.transactions where key = 'tiny'"
    ).fetchall()
    assert text["exact"] == "0.1234567890123456789012345678901"


def test_no_number_is_recorded_longer_than_it_is(priced: Ledger) -> None:
    priced.execute(
        "select pgledger.spend_usage('a', 'm', '{\"in\": 1000.000, \"out\": 0.50}', 'k')"
    )
    (row,) = priced.execute("select usage::text from pgledger.transactions where key = 'k'")
    numbers = re.findall(r": ([0-9.]+)", row["usage"])
    assert sorted(numbers) == ["0.0015", "0.003", "0.006", "0.5", "1.5", "1.503", "1000"]


@pytest.mark.parametrize("time_zone", ["UTC", "America/St_Johns", "Asia/Kolkata"])
def test_what_is_recorded_is_of_no_time_zone(priced: Ledger, time_zone: str) -> None:
    priced.execute(f"set time zone '{time_zone}'")
    ask(priced, "spend_usage", **GIVEN)
    assert usage_of(priced, "k")["valid_from"].endswith("Z")
    assert in_order(priced)


def test_a_spend_without_a_key_is_known_by_its_seq(priced: Ledger) -> None:
    given = GIVEN | {"key": None}
    assert [ask(priced, "spend_usage", **given)["key"] for _ in range(2)] == ["#2", "#3"]
    assert usage_of(priced, "#3")["exact"] == 3.9


def test_the_price_is_that_of_now(priced: Ledger) -> None:
    set_price(priced, "m", {"in": 99, "out": 99}, valid_from=datetime(2200, 1, 1, tzinfo=UTC))
    assert ask(priced, "spend_usage", **GIVEN)["amount"] == -4
    set_price(priced, "m", {"in": 0.001, "out": 0.002})
    assert ask(priced, "spend_usage", **(GIVEN | {"key": "l"}))["amount"] == -2


# Replays


@pytest.mark.parametrize(
    "then", ["nothing", "another price", "free", "a price beyond bigint", "a unit less", "not sold"]
)
@pytest.mark.parametrize("way", ["short path", "under the lock"])
def test_a_repeat_is_answered_whatever_the_price_is_now(
    priced: Ledger, then: str, way: str
) -> None:
    first = ask(priced, "spend_usage", **GIVEN)
    prices: dict[str, Any] = {
        "nothing": {"in": 0.0015, "out": 0.006},
        "another price": {"in": 1, "out": 1},
        "free": {"in": 0, "out": 0},
        "a price beyond bigint": {"in": HIGHEST, "out": HIGHEST},
        "a unit less": {"in": 1},
        "not sold": {},
    }
    set_price(priced, "m", prices[then])
    if way == "under the lock":
        ask(priced, "hold", account_id="a", amount=1, key="due", expires_at="2100-01-01")
        let_expire(priced, "due")
    assert same(first, replayed(priced, "spend_usage", **GIVEN))
    given = GIVEN | {"quantities": {"out": 350.0, "in": 1200}, "reference": "r"}
    assert same(first, replayed(priced, "spend_usage", **given, raise_refusals=False))
    assert usage_of(priced, "k")["exact"] == 3.9


@pytest.mark.parametrize(
    "other",
    [
        {"quantities": {"in": 1200, "out": 351}},
        # These cost the same.
        {"quantities": {"in": 1201, "out": 350}},
        {"quantities": {"in": 1200}},
        {"quantities": USED | {"other": 0}},
        {"code": "same price"},
        # These have no price.
        {"quantities": {"unknown": 1}},
        {"code": "unknown"},
        {"code": "free", "quantities": {"in": 1200}},
    ],
    ids=str,
)
def test_other_usage_under_a_key_is_a_conflict(priced: Ledger, other: dict[str, Any]) -> None:
    set_price(priced, "same price", {"in": 0.0015, "out": 0.006})
    ask(priced, "spend_usage", **GIVEN)
    details = refused(priced, "LG002", "spend_usage", **(GIVEN | other))
    assert (details["account_id"], details["key"]) == ("a", "k")
    assert details["recorded"]["usage"] == {"code": "m", "quantities": USED}
    given = {name: (GIVEN | other)[name] for name in ("code", "quantities")}
    assert details["given"]["usage"] == given
    refused_as_row(priced, "LG002", "spend_usage", **(GIVEN | other))


def test_a_plain_spend_and_one_of_usage_are_not_each_other(priced: Ledger) -> None:
    ask(priced, "spend_usage", **GIVEN)
    details = refused(priced, "LG002", "spend", account_id="a", amount=4, key="k")
    assert details["recorded"]["usage"]["code"] == "m"
    assert details["given"]["usage"] is None
    ask(priced, "spend", account_id="a", amount=4, key="plain")
    details = refused(priced, "LG002", "spend_usage", **(GIVEN | {"key": "plain"}))
    assert details["recorded"]["usage"] is None
    refused(priced, "LG002", "hold", account_id="a", amount=4, key="k")
    ask(priced, "hold", account_id="a", amount=4, key="held")
    refused(priced, "LG002", "spend_usage", **(GIVEN | {"key": "held"}))
    ask(priced, "capture", account_id="a", key="held")
    refused(priced, "LG002", "spend_usage", **(GIVEN | {"key": "held"}))
    assert in_order(priced)


# No price


@pytest.mark.parametrize("account_id", ["a", "unknown"])
def test_what_has_no_price_is_not_spent(priced: Ledger, account_id: str) -> None:
    given = GIVEN | {"account_id": account_id, "code": "unknown"}
    details = refused(priced, "LG011", "spend_usage", **given)
    assert details.keys() == {"account_id", "key", "code", "at"}
    row = refused_as_row(priced, "LG011", "spend_usage", **given)
    assert row["requested_amount"] is None
    assert row["error"]["message"] == "price not found"
    assert row["error"]["detail"]["code"] == "unknown"

    given = GIVEN | {"account_id": account_id, "quantities": USED | {"image": 1}}
    details = refused(priced, "LG011", "spend_usage", **given)
    assert (details["unit"], details["units"]) == ("image", ["in", "out"])
    refused_as_row(priced, "LG011", "spend_usage", **(given | {"key": None}))


def test_a_cost_beyond_bigint_is_not_spent(priced: Ledger) -> None:
    given = GIVEN | {"quantities": {"in": 10**39}}
    assert refused(priced, "22003", "spend_usage", **given)["code"] == "m"
    refused_as_row(priced, "22003", "spend_usage", **given)
    set_price(priced, "m", {"in": 1})
    ask(priced, "open_account", account_id="b", min_balance=-HIGHEST)
    given = GIVEN | {"account_id": "b", "quantities": {"in": HIGHEST}}
    assert ask(priced, "spend_usage", **given)["balance"] == -HIGHEST
    refused(
        priced, "22003", "spend_usage", **(given | {"quantities": {"in": HIGHEST + 1}, "key": None})
    )


# What a spend is


def test_a_shortage_is_that_of_a_spend(priced: Ledger) -> None:
    ask(priced, "spend", account_id="a", amount=97)
    details = refused(priced, "LG001", "spend_usage", **GIVEN)
    assert (details["requested"], details["missing"]) == (4, 1)
    row = refused_as_row(priced, "LG001", "spend_usage", **GIVEN)
    assert row["requested_amount"] == -4
    row = ask(priced, "spend_usage", **GIVEN, shortfall="PARTIAL")
    assert (row["amount"], row["requested_amount"], row["balance"]) == (-3, -4, 0)
    assert usage_of(priced, "k")["exact"] == 3.9
    set_price(priced, "m", {"in": 1, "out": 1})
    assert same(row, replayed(priced, "spend_usage", **GIVEN))
    refused(priced, "LG001", "spend_usage", **(GIVEN | {"key": "l"}), shortfall="PARTIAL")
    ask(priced, "set_limits", account_id="a", min_balance=0, debt_floor=-5000)
    assert ask(priced, "spend_usage", **(GIVEN | {"key": "l"}), shortfall="DEBT")["balance"] < 0
    assert in_order(priced)


def test_who_never_had_a_credit_is_short_of_credits(priced: Ledger) -> None:
    refused(priced, "LG001", "spend_usage", **(GIVEN | {"account_id": "b"}))
    refused_as_row(priced, "LG001", "spend_usage", **(GIVEN | {"account_id": "b"}))


def test_an_account_that_is_not_open_spends_nothing(priced: Ledger) -> None:
    ask(priced, "set_account_status", account_id="a", status="FROZEN")
    refused(priced, "LG004", "spend_usage", **GIVEN)
    refused(priced, "LG004", "spend_usage", **(GIVEN | {"code": "free", "quantities": {"in": 1}}))


def test_lots_pay_for_it(priced: Ledger) -> None:
    give(priced, "soon", 3, day(1))
    ask(priced, "spend_usage", **GIVEN)
    assert paid(priced, "k") == [("soon", 3), (None, 1)]
    assert usage_of(priced, "k")["exact"] == 3.9
    assert unreckoned(priced) == []


def test_it_counts_towards_the_cap_and_tops_up(priced: Ledger) -> None:
    ask(priced, "set_spending_cap", account_id="a", amount=7)
    ask(priced, "set_auto_top_up", account_id="a", threshold=97, amount=50, mode="INSTANT")
    row = ask(priced, "spend_usage", **GIVEN, reference="r")
    assert (row["balance"], journal(priced)[-1]) == (146, ("TOP_UP", 50))
    assert refused(priced, "LG008", "spend_usage", **(GIVEN | {"key": "l"}))["remaining"] == 3
    row = ask(priced, "spend_usage", **(GIVEN | {"key": "l"}), shortfall="PARTIAL")
    assert (row["amount"], row["requested_amount"]) == (-3, -4)
    assert ask(priced, "get_spending_cap", account_id="a")["used"] == 7
    assert in_order(priced)


def test_it_can_be_reversed(priced: Ledger) -> None:
    ask(priced, "spend_usage", **GIVEN)
    row = ask(priced, "reverse_transaction", account_id="a", original_key="k", key="back")
    assert (row["amount"], row["balance"]) == (4, 100)
    assert usage_of(priced, "back") is None
    assert in_order(priced)


def test_history_of_another_system_can_be_spent(priced: Ledger) -> None:
    write_history(priced, "b", 10, -3)
    assert ask(priced, "spend_usage", **(GIVEN | {"account_id": "b"}))["balance"] == 3
    assert in_order(priced)


@pytest.mark.parametrize("parameter", ["code", "quantities", "shortfall"])
def test_what_was_used_must_be_given(priced: Ledger, parameter: str) -> None:
    details = refused(priced, "22004", "spend_usage", **(GIVEN | {parameter: None}))
    assert details["parameter"] == parameter


def test_misuse_is_refused_before_a_repeat(priced: Ledger) -> None:
    ask(priced, "spend_usage", **GIVEN)
    for wrong in ({"quantities": {"in": -1}}, {"code": ""}, {"shortfall": "FORCE"}):
        refused(priced, "22023", "spend_usage", **(GIVEN | wrong))


# What cost nothing

FREE: dict[str, Any] = {"account_id": "a", "code": "free", "quantities": {"in": 5}, "key": "f"}


def test_what_cost_nothing_is_recorded(priced: Ledger) -> None:
    row = ask(priced, "spend_usage", **FREE, reference="chat")
    created_at = row.pop("created_at")
    assert created_at is not None
    assert row == {
        "account_id": "a",
        "key": "f",
        "seq": 2,
        "type": "USAGE",
        "amount": 0,
        "requested_amount": 0,
        "running_balance": 100,
        "balance": 100,
        "available": 100,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    assert usage_of(priced, "f")["breakdown"]["in"]["quantity"] == 5
    assert replayed(priced, "spend_usage", **FREE)["seq"] == 2
    refused(priced, "LG002", "spend_usage", **(FREE | {"quantities": {"in": 6}}))
    refused(priced, "LG002", "spend_usage", **(GIVEN | {"key": "f"}))
    assert ask(priced, "spend_usage", **(FREE | {"key": None}))["key"] == "#3"
    assert ask(priced, "spend", account_id="a", amount=100)["seq"] == 4
    assert posted(priced, "a") == [100, 0, 0, -100]
    assert in_order(priced)


def test_a_part_of_a_credit_rounded_down_costs_nothing(priced: Ledger) -> None:
    set_price(priced, "floor", {"in": 0.3}, rounding="FLOOR")
    for quantity, amount in ((3, 0), (4, -1)):
        given = FREE | {"code": "floor", "quantities": {"in": quantity}, "key": None}
        assert ask(priced, "spend_usage", **given)["amount"] == amount
    assert in_order(priced)


@pytest.mark.parametrize("balance", ["none", "owed", "all held", "at the cap", "something due"])
@pytest.mark.parametrize("shortfall", ["REFUSE", "PARTIAL", "DEBT"])
def test_what_costs_nothing_is_had_whatever_the_balance(
    priced: Ledger, balance: str, shortfall: str
) -> None:
    if balance == "none":
        ask(priced, "spend", account_id="a", amount=100)
    elif balance == "owed":
        ask(priced, "spend", account_id="a", amount=50)
        ask(
            priced,
            "add_transaction",
            account_id="a",
            amount=-80,
            type="ADJUSTMENT",
            fail_insufficient_credits=False,
        )
    elif balance == "all held":
        ask(priced, "hold", account_id="a", amount=100)
    elif balance == "at the cap":
        ask(priced, "spend", account_id="a", amount=60)
        ask(priced, "set_spending_cap", account_id="a", amount=50)
    else:
        ask(priced, "hold", account_id="a", amount=100, key="due", expires_at="2100-01-01")
        let_expire(priced, "due")
    before = ask(priced, "get_balance", account_id="a")["available"]
    row = ask(priced, "spend_usage", **FREE, shortfall=shortfall)
    assert (row["status"], row["amount"], row["available"]) == ("POSTED", 0, before)
    assert in_order(priced)


def test_what_costs_nothing_needs_an_account(priced: Ledger) -> None:
    for shortfall in ("REFUSE", "PARTIAL", "DEBT"):
        given = FREE | {"account_id": "b", "shortfall": shortfall}
        details = refused(priced, "LG001", "spend_usage", **given)
        assert (details["requested"], details["available"]) == (0, 0)
        refused_as_row(priced, "LG001", "spend_usage", **given)
    ask(priced, "open_account", account_id="b")
    assert ask(priced, "spend_usage", **given)["seq"] == 1
    # Also where its balance row has yet to be made.
    ask(priced, "open_account", account_id="c")
    priced.execute("delete from pgledger.balances where account_id = 'c'")
    assert ask(priced, "spend_usage", **(given | {"account_id": "c"}))["seq"] == 1
    write_history(priced, "foreign", 5)
    assert ask(priced, "spend_usage", **(FREE | {"account_id": "foreign"}))["balance"] == 5
    assert in_order(priced)


@pytest.mark.parametrize("status", ["FROZEN", "CLOSED"])
def test_what_costs_nothing_needs_an_open_account(priced: Ledger, status: str) -> None:
    ask(priced, "open_account", account_id="b")
    ask(priced, "set_account_status", account_id="b", status=status)
    details = refused(priced, "LG004", "spend_usage", **(FREE | {"account_id": "b"}))
    assert (details["status"], details["requested"]) == (status, 0)


@pytest.mark.parametrize("lots", ["a head", "an empty head", "two lots", "held lots"])
def test_what_costs_nothing_draws_nothing(priced: Ledger, lots: str) -> None:
    give(priced, "one", 10, day(1))
    if lots == "an empty head":
        ask(priced, "spend", account_id="a", amount=10)
    elif lots == "two lots":
        give(priced, "two", 10, day(2))
        ask(priced, "spend", account_id="a", amount=15)
    elif lots == "held lots":
        ask(priced, "hold", account_id="a", amount=105)
    before = (left(priced), pool(priced))
    seq = ask(priced, "spend_usage", **FREE)["seq"]
    assert (left(priced), pool(priced)) == before
    assert paid(priced, "f") == []
    assert ask_all(priced, "explain_transaction", account_id="a", key="f") == []
    (row,) = priced.execute("select lot from pgledger.transactions where key = 'f'").fetchall()
    assert row["lot"] is None
    assert unreckoned(priced) == []
    assert ask(priced, "spend", account_id="a", amount=1)["seq"] == seq + 1
    assert head(priced) is not None
    assert unreckoned(priced) == []


def test_what_costs_nothing_causes_nothing(priced: Ledger) -> None:
    ask(priced, "set_low_balance_level", account_id="a", level=200)
    ask(priced, "set_auto_top_up", account_id="a", threshold=200, amount=50)
    ask(priced, "set_spending_cap", account_id="a", amount=5)
    ask(priced, "spend_usage", **FREE)
    assert events(priced) == []
    assert ask(priced, "get_spending_cap", account_id="a")["used"] == 0
    assert in_order(priced)


def test_there_is_nothing_to_reverse_of_what_cost_nothing(priced: Ledger) -> None:
    ask(priced, "spend_usage", **FREE)
    for amount in (None, 1):
        given = {"account_id": "a", "original_key": "f", "amount": amount, "key": "back"}
        details = refused(priced, "LG009", "reverse_transaction", **given)
        assert details["remaining"] == 0
        refused_as_row(priced, "LG009", "reverse_transaction", **given)
    refused(priced, "22023", "refund", account_id="a", original_key="f", key="back")


def test_what_cost_nothing_is_read_like_any_usage(priced: Ledger) -> None:
    ask(priced, "spend_usage", **GIVEN, reference="chat")
    free = ask(priced, "spend_usage", **FREE, reference="chat")
    ask(priced, "spend_usage", **(FREE | {"key": None}))
    (alone, chat) = ask_all(priced, "usage_by_reference", account_id="a")
    assert (alone["reference"], alone["spends"], alone["amount"]) == (None, 1, 0)
    assert (chat["reference"], chat["spends"], chat["amount"]) == ("chat", 2, -4)
    assert ask(priced, "balance_at", account_id="a", at=free["created_at"])["balance_at"] == 96
    assert [row["amount"] for row in ask_all(priced, "history", account_id="a")] == [0, 0, -4, 100]
    assert ask_all(priced, "explain_balance", account_id="a")[0]["amount"] == 96
    before = everything(priced)
    priced.execute("delete from pgledger.balances")
    assert ask(priced, "spend_usage", **FREE)["replayed"] is True
    assert everything(priced) == before
    assert Decimal(ask(priced, "get_balance", account_id="a")["balance"]) == 96
    ask(priced, "spend", account_id="a", amount=96)
    ask(priced, "set_account_status", account_id="a", status="CLOSED")
    assert in_order(priced)


def test_a_balance_row_is_made_for_what_cost_nothing(priced: Ledger) -> None:
    priced.execute("delete from pgledger.balances")
    assert ask(priced, "spend_usage", **FREE)["running_balance"] == 100
    assert in_order(priced)


def test_no_plain_movement_is_of_nothing(priced: Ledger) -> None:
    refused(priced, "22023", "spend", account_id="a", amount=0)
    details = refused(priced, "22023", "add_transaction", account_id="a", amount=0, type="USAGE")
    assert details["parameter"] == "amount"
