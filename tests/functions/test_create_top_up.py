"""create_top_up: a payment is announced before anybody is sent to pay it."""

import hashlib
import json
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    events,
    everything,
    in_order,
    left,
    pending,
    refused,
    value,
    write_history,
)

PRICED: dict[str, Any] = {
    "account_id": "a",
    "amount": 100,
    "key": "k",
    "price": 999,
    "price_currency": "usd",
}
TODAY = "date_trunc('day', clock_timestamp() at time zone 'UTC') at time zone 'UTC'"


def limit(db: Ledger, **limits: object) -> None:
    ask_all(db, "set_top_up_limits", **limits)


def repeated(db: Ledger, **given: object) -> dict[str, Any]:
    before = everything(db)
    row = ask(db, "create_top_up", **given)
    assert row["replayed"] is True
    assert everything(db) == before
    return row


def test_it_announces_a_payment_and_moves_nothing(db: Ledger) -> None:
    row = ask(db, "create_top_up", **PRICED, reference="order 7", metadata={"via": "web"})
    intent = ask(db, "get_transaction", account_id="a", key="k")
    assert row.pop("created_at") == intent["created_at"]
    told = json.dumps(["a", "k", 0]).encode()
    assert row == {
        "account_id": "a",
        "key": "k",
        "amount": 100,
        "status": "PENDING",
        "replayed": False,
        "reference": "order 7",
        "price": 999,
        "price_currency": "usd",
        "attempt": 0,
        "claims": 0,
        "idempotency_key": f"pgledger-{hashlib.sha256(told).hexdigest()}",
        "customer": None,
        "payment_method": None,
        "due_at": None,
        "is_wanted": True,
    }
    assert (intent["type"], intent["amount"], intent["status"]) == ("TOP_UP", 100, "PENDING")
    assert intent["metadata"] == {"via": "web", "price": 999, "price_currency": "usd"}
    assert intent["reference"] == "order 7"
    assert value(db, "get_credits", account_id="a") == 0
    assert events(db) == []
    assert in_order(db)


def test_what_was_paid_for_says_in_the_journal_what_it_cost(db: Ledger) -> None:
    ask(db, "create_top_up", **PRICED)
    row = ask(db, "enable_transaction", account_id="a", key="k", external_id="pi_1")
    assert row["balance"] == 100
    posted = ask(db, "get_transaction", account_id="a", key="k")
    assert posted["metadata"] == {"price": 999, "price_currency": "usd"}


def test_without_a_price_and_a_key_nothing_is_added(db: Ledger) -> None:
    row = ask(db, "create_top_up", account_id="a", amount=1)
    assert row["key"].startswith("#")
    assert (row["price"], row["price_currency"]) == (None, None)
    assert ask(db, "get_transaction", account_id="a", key=row["key"])["metadata"] == {}
    assert ask(db, "create_top_up", account_id="a", amount=1)["key"] != row["key"]
    assert in_order(db)


def test_the_credits_may_expire_and_come_first(db: Ledger) -> None:
    given = {**PRICED, "expires_at": "2200-01-01", "priority": -5}
    ask(db, "create_top_up", **given)
    repeated(db, **given)
    refused(db, "LG002", "create_top_up", **given | {"priority": 0})
    refused(db, "LG002", "create_top_up", **given | {"expires_at": None})
    ask(db, "enable_transaction", account_id="a", key="k")
    assert left(db) == {"k": 100}
    assert ask(db, "lots", account_id="a")["priority"] == -5
    assert in_order(db)


def test_a_repeat_tells_what_became_of_the_first(db: Ledger) -> None:
    first = ask(db, "create_top_up", **PRICED, reference="one")
    again = repeated(db, **PRICED, reference="two", metadata={"m": 2})
    assert again == first | {"replayed": True}
    ask(db, "cancel_transaction", account_id="a", key="k")
    assert repeated(db, **PRICED)["status"] == "CANCELLED"
    ask(db, "enable_transaction", account_id="a", key="k", external_id="late")
    assert repeated(db, **PRICED) == again | {"status": "POSTED", "is_wanted": False}
    assert in_order(db)


@pytest.mark.parametrize(
    "other",
    [
        {"amount": 101},
        {"price": 1000},
        {"price_currency": "eur"},
        {"price": None, "price_currency": None},
    ],
)
def test_a_repeat_of_something_else_is_a_conflict(db: Ledger, other: dict[str, object]) -> None:
    ask(db, "create_top_up", **PRICED)
    details = refused(db, "LG002", "create_top_up", **PRICED | other)
    name, given = next(iter(other.items()))
    assert details["recorded"][name] == PRICED[name]
    assert details["given"][name] == given
    assert details["recorded"]["key"] == details["given"]["key"] == "k"


def test_a_key_is_of_one_account(db: Ledger) -> None:
    ask(db, "create_top_up", **PRICED)
    other = PRICED | {"account_id": "b", "amount": 5, "price": 1}
    first = ask(db, "create_top_up", **other)
    assert (first["account_id"], first["amount"], first["replayed"]) == ("b", 5, False)
    assert repeated(db, **other) == first | {"replayed": True}
    assert repeated(db, **PRICED)["amount"] == 100


def test_a_price_where_there_was_none_is_a_conflict(db: Ledger) -> None:
    ask(db, "create_top_up", account_id="a", amount=100, key="k")
    refused(db, "LG002", "create_top_up", **PRICED)
    repeated(db, account_id="a", amount=100, key="k")


def test_what_top_up_announced_is_repeated_by_it(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100, key="k", is_active=False)
    repeated(db, account_id="a", amount=100, key="k")
    ask(db, "top_up", account_id="a", amount=100, key="l")
    refused(db, "LG002", "create_top_up", account_id="a", amount=100, key="l")
    ask(db, "grant_credits", account_id="a", amount=100, key="g")
    refused(db, "LG002", "create_top_up", account_id="a", amount=100, key="g")


@pytest.mark.parametrize(
    ("parameter", "given", "code"),
    [
        ("price", {"price": None}, "22004"),
        ("price_currency", {"price_currency": None}, "22004"),
        ("price", {"price": 0}, "22023"),
        ("price", {"price": -1}, "22023"),
        ("price_currency", {"price_currency": "USD"}, "22023"),
        ("price_currency", {"price_currency": "dollar"}, "22023"),
        ("metadata", {"metadata": {"price": 1}}, "22023"),
        ("metadata", {"metadata": {"price_currency": "usd"}}, "22023"),
        (
            "metadata",
            {"metadata": {"price": 1}, "price": None, "price_currency": None},
            "22023",
        ),
        ("metadata", {"metadata": Jsonb(None)}, "22023"),
        ("metadata", {"metadata": [1]}, "22023"),
        ("expires_at", {"expires_at": "2000-01-01"}, "22023"),
        ("key", {"key": "#mine"}, "22023"),
        ("amount", {"amount": 0}, "22023"),
    ],
)
def test_what_makes_no_sense_is_refused(
    db: Ledger, parameter: str, given: dict[str, object], code: str
) -> None:
    assert refused(db, code, "create_top_up", **PRICED | given)["parameter"] == parameter


def test_a_frozen_account_may_buy_and_a_closed_one_may_not(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert ask(db, "create_top_up", **PRICED)["status"] == "PENDING"
    ask(db, "cancel_transaction", account_id="a", key="k")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    details = refused(db, "LG004", "create_top_up", **PRICED | {"key": "l"})
    assert details["status"] == "CLOSED"
    assert repeated(db, **PRICED)["status"] == "CANCELLED"


def test_the_largest_amounts_fit_or_are_refused(db: Ledger) -> None:
    ask(db, "create_top_up", account_id="a", amount=HIGHEST, price=HIGHEST, price_currency="usd")
    limit(db, daily_amount_limit=HIGHEST)
    details = refused(db, "LG012", "create_top_up", account_id="a", amount=HIGHEST)
    assert details["used"] == HIGHEST
    ask(db, "top_up", account_id="b", amount=1)
    refused(db, "22003", "create_top_up", account_id="b", amount=HIGHEST)


@pytest.mark.parametrize(
    ("limits", "good", "bad"),
    [
        ({"minimum": 10}, [10, 11], [1, 9]),
        ({"maximum": 10}, [1, 10], [11, HIGHEST]),
        ({"multiple_of": 7}, [7, 70], [1, 6, 8, HIGHEST - 1]),
        ({"multiple_of": 10**18 + 1}, [10**18 + 1, 9 * (10**18 + 1)], [10**18, 10**18 + 2]),
    ],
)
def test_one_top_up_keeps_to_its_limits(
    db: Ledger, limits: dict[str, int], good: list[int], bad: list[int]
) -> None:
    limit(db, **limits)
    ((name, allowed),) = limits.items()
    for amount in bad:
        assert refused(db, "LG012", "create_top_up", account_id="a", amount=amount) == {
            "account_id": "a",
            "key": None,
            "limit": name,
            "allowed": allowed,
            "requested": amount,
            "used": None,
            "resets_at": None,
        }
    for number, amount in enumerate(good):
        ask(db, "create_top_up", account_id=f"r{number}", amount=amount)
    assert in_order(db)


def test_the_count_of_a_day_is_kept(db: Ledger) -> None:
    limit(db, daily_count_limit=2)
    for key in ("k", "l"):
        ask(db, "create_top_up", account_id="a", amount=1, key=key)
    (day,) = db.execute(f"select pgledger._utc({TODAY} + interval '24 hours') as ends").fetchall()
    assert refused(db, "LG012", "create_top_up", account_id="a", amount=1, key="m") == {
        "account_id": "a",
        "key": "m",
        "limit": "daily_count_limit",
        "allowed": 2,
        "requested": 1,
        "used": 2,
        "resets_at": day["ends"].replace(".000000", ""),
    }
    repeated(db, account_id="a", amount=1, key="k")
    ask(db, "create_top_up", account_id="b", amount=1, key="m")
    assert in_order(db)


def test_the_sum_of_a_day_is_kept(db: Ledger) -> None:
    limit(db, daily_amount_limit=100)
    ask(db, "create_top_up", account_id="a", amount=60)
    details = refused(db, "LG012", "create_top_up", account_id="a", amount=41)
    assert (details["limit"], details["used"], details["requested"]) == (
        "daily_amount_limit",
        60,
        41,
    )
    ask(db, "create_top_up", account_id="a", amount=40)
    refused(db, "LG012", "create_top_up", account_id="a", amount=1)
    assert in_order(db)


@pytest.mark.parametrize("limits", [{"daily_count_limit": 1}, {"daily_amount_limit": 5}])
def test_what_was_paid_counts_and_what_was_cancelled_does_not(
    db: Ledger, limits: dict[str, int]
) -> None:
    limit(db, **limits)
    ask(db, "create_top_up", account_id="a", amount=5, key="k")
    ask(db, "cancel_transaction", account_id="a", key="k")
    ask(db, "create_top_up", account_id="a", amount=5, key="l")
    refused(db, "LG012", "create_top_up", account_id="a", amount=5)
    ask(db, "cancel_transaction", account_id="a", key="l")
    ask(db, "enable_transaction", account_id="a", key="k", external_id="late")
    refused(db, "LG012", "create_top_up", account_id="a", amount=5)
    assert in_order(db)


@pytest.mark.parametrize("limits", [{"daily_count_limit": 2}, {"daily_amount_limit": 210}])
def test_auto_top_ups_count_and_are_not_held_up(db: Ledger, limits: dict[str, int]) -> None:
    limit(db, **limits)
    ask(db, "grant_credits", account_id="a", amount=10)
    ask(db, "set_auto_top_up", account_id="a", threshold=10, amount=200)
    ask(db, "create_top_up", account_id="a", amount=10)
    ask(db, "spend", account_id="a", amount=1)
    assert refused(db, "LG012", "create_top_up", account_id="a", amount=10)["used"] in (2, 210)
    ask(db, "enable_transaction", account_id="a", key="#auto-1")
    ask(db, "spend", account_id="a", amount=205)
    assert pending(db)["#auto-2"] == "PENDING"
    assert in_order(db)


def test_other_credits_that_are_announced_do_not_count(db: Ledger) -> None:
    limit(db, daily_count_limit=1)
    given = {"account_id": "a", "amount": 5, "is_active": False}
    ask(db, "add_transaction", **given, type="CARD_CHECK")
    ask(db, "top_up", account_id="a", amount=50)
    ask(db, "hold", account_id="a", amount=5)
    ask(db, "create_top_up", account_id="a", amount=5)
    assert refused(db, "LG012", "create_top_up", account_id="a", amount=5)["used"] == 1


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("limits", [{"daily_count_limit": 1}, {"daily_amount_limit": 5}])
def test_a_day_is_one_of_utc(db: Ledger, zone: str, limits: dict[str, int]) -> None:
    db.execute(f"set timezone = '{zone}'".encode())
    limit(db, **limits)
    ask(db, "create_top_up", account_id="a", amount=5)
    db.execute(f"update pgledger.pending_transactions set created_at = {TODAY}".encode())
    refused(db, "LG012", "create_top_up", account_id="a", amount=5)
    db.execute("update pgledger.pending_transactions set created_at = created_at - interval '1 us'")
    assert ask(db, "create_top_up", account_id="a", amount=5)["status"] == "PENDING"


def test_imported_history_buys_as_any_other(db: Ledger) -> None:
    write_history(db, "a", 50, key="old")
    ask(db, "create_top_up", **PRICED)
    refused(db, "LG002", "create_top_up", **PRICED | {"key": "old1"})
    assert in_order(db)
