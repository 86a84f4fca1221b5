"""Credits with an expiry or a priority of their own: how lots come to be, and their list."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    day,
    everything,
    give,
    head,
    journal,
    left,
    let_pass,
    paid,
    pool,
    refused,
    refused_as_row,
    replayed,
    unreckoned,
    value,
    write_history,
)


def lot(db: Ledger, key: str, account_id: str = "a") -> dict[str, Any]:
    """Return a lot as it is listed."""
    (found,) = [row for row in ask_all(db, "lots", account_id=account_id) if row["key"] == key]
    return found


def no_lots(db: Ledger) -> bool:
    return db.execute("select from pgledger.lots").fetchall() == []


# What forms a lot


def test_a_grant_that_expires_is_a_lot(db: Ledger) -> None:
    row = ask(
        db,
        "grant_credits",
        account_id="a",
        amount=10,
        key="A",
        expires_at=day(1),
        metadata={"m": 1},
    )
    assert (row["amount"], row["balance"], row["available"]) == (10, 10, 10)
    assert ask_all(db, "lots", account_id="a") == [
        {
            "lot": 1,
            "key": "A",
            "type": "GRANT",
            "granted": 10,
            "drawn": 0,
            "expired": 0,
            "held": 0,
            "remaining": 10,
            "priority": 0,
            "expires_at": day(1),
            "created_at": row["created_at"],
            "metadata": {"m": 1},
        }
    ]
    assert (pool(db), head(db)) == (0, ("A", 10))
    assert unreckoned(db) == []


@pytest.mark.parametrize("priority", [-(2**15), -1, 1, 7])
def test_a_grant_with_a_priority_is_a_lot_that_never_expires(db: Ledger, priority: int) -> None:
    give(db, "A", 10, priority=priority)
    found = lot(db, "A")
    assert (found["priority"], found["expires_at"], found["remaining"]) == (priority, None, 10)
    assert unreckoned(db) == []


def test_a_credit_with_neither_goes_to_the_pool(db: Ledger) -> None:
    give(db, "A", 10)
    ask(db, "top_up", account_id="a", amount=5, priority=0, expires_at=None)
    ask(db, "add_transaction", account_id="a", amount=5, type="GRANT", priority=0)
    assert no_lots(db)
    assert ask_all(db, "lots", account_id="a") == []
    give(db, "B", 10, day(1))
    give(db, "C", 1)
    assert (pool(db), left(db)) == (21, {"B": 10})
    assert unreckoned(db) == []


@pytest.mark.parametrize("terms", [{"expires_at": day(1)}, {"priority": 2}])
def test_a_top_up_and_any_other_credit_can_be_a_lot(db: Ledger, terms: dict[str, Any]) -> None:
    given = {"account_id": "a", "amount": 10, **terms}
    ask(db, "top_up", **given, key="A")
    ask(db, "add_transaction", **given, type="ADJUSTMENT", key="B")
    ask(db, "add_transaction", **given, type="GRANT")
    assert [row["type"] for row in ask_all(db, "lots", account_id="a")] == [
        "TOP_UP",
        "ADJUSTMENT",
        "GRANT",
    ]
    assert [row["key"] for row in ask_all(db, "lots", account_id="a")] == ["A", "B", "#3"]
    assert (pool(db), value(db, "get_credits", account_id="a")) == (0, 30)
    assert unreckoned(db) == []


def test_a_lot_goes_by_the_seq_of_its_transaction(db: Ledger) -> None:
    give(db, "first", 1)
    give(db, "A", 10, day(1))
    (row,) = db.execute("select seq, lot from pgledger.transactions where key = 'A'").fetchall()
    assert row == {"seq": 2, "lot": None}
    assert lot(db, "A")["lot"] == 2
    assert db.execute("select from pgledger.transaction_draws").fetchall() == []


def test_history_of_another_system_is_the_pool(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    give(db, "A", 10, day(1))
    assert (pool(db), left(db), head(db)) == (70, {"A": 10}, ("A", 10))
    assert unreckoned(db) == []


def test_an_account_that_is_frozen_gets_lots_too(db: Ledger) -> None:
    give(db, "A", 1)
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    give(db, "B", 10, day(1))
    assert left(db) == {"B": 10}
    assert unreckoned(db) == []


# A debt comes first


@pytest.mark.parametrize(
    ("amount", "debt_left", "lot_gets"), [(10, 20, 0), (30, 0, 0), (31, 0, 1), (100, 0, 70)]
)
def test_a_credit_pays_the_debt_before_it_forms_a_lot(
    db: Ledger, amount: int, debt_left: int, lot_gets: int
) -> None:
    ask(db, "open_account", account_id="a", min_balance=-50)
    ask(db, "spend", account_id="a", amount=30)
    row = give(db, "A", amount, day(1))
    assert (row["amount"], row["balance"]) == (amount, amount - 30)
    (stored,) = db.execute("select seq, amount, remaining from pgledger.lots").fetchall()
    assert (stored["seq"], stored["amount"]) == (2, lot_gets)
    assert pool(db) == -debt_left
    assert left(db) == ({"A": lot_gets} if lot_gets else {})
    assert unreckoned(db) == []
    let_pass(db, "1 day")
    assert value(db, "get_credits", account_id="a") == -debt_left
    assert value(db, "run_due") == (1 if lot_gets else 0)
    assert value(db, "get_credits", account_id="a") == -debt_left
    assert unreckoned(db) == []


def test_what_holds_reserve_beyond_the_pool_is_no_debt_before_it_is_captured(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-50)
    give(db, "pool", 10)
    ask(db, "hold", account_id="a", amount=30, key="h")
    give(db, "A", 25, day(1))
    assert (pool(db), left(db)) == (10, {"A": 25})
    assert value(db, "get_credits", account_id="a") == 5
    assert unreckoned(db) == []
    ask(db, "capture", account_id="a", key="h", amount=14)
    assert (pool(db), left(db)) == (-4, {"A": 25})
    give(db, "B", 5, day(1))
    assert (pool(db), left(db)) == (0, {"A": 25, "B": 1})
    assert unreckoned(db) == []


def test_what_holds_reserve_in_lots_is_no_debt(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    ask(db, "hold", account_id="a", amount=8, key="h")
    give(db, "B", 10, day(2))
    assert (pool(db), left(db)) == (0, {"A": 2, "B": 10})
    assert unreckoned(db) == []


def test_a_debt_that_is_paid_does_not_come_back_when_the_lot_expires(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-50)
    ask(db, "spend", account_id="a", amount=30, key="spent")
    give(db, "A", 40, day(1))
    let_pass(db, "1 day")
    assert give(db, "B", 1)["balance"] == 1
    assert journal(db) == [("USAGE", -30), ("GRANT", 40), ("EXPIRY", -10), ("GRANT", 1)]
    assert unreckoned(db) == []


# What cannot be


@pytest.mark.parametrize("verb", ["grant_credits", "top_up", "add_transaction"])
@pytest.mark.parametrize(
    "expires_at", ["2000-01-01", "now", "infinity", "-infinity", "1999-12-31 23:59:59.999999Z"]
)
def test_credits_expire_in_the_future(db: Ledger, verb: str, expires_at: str) -> None:
    given: dict[str, Any] = {"account_id": "a", "amount": 10, "key": "k", "expires_at": expires_at}
    if verb == "add_transaction":
        given["type"] = "GRANT"
    details = refused(db, "22023", verb, **given)
    assert details["parameter"] == "expires_at"
    refused(db, "22023", verb, **given, raise_refusals=False)
    if verb != "grant_credits":
        refused(db, "22023", verb, **given, is_active=False)


@pytest.mark.parametrize("verb", ["grant_credits", "top_up", "add_transaction"])
def test_a_priority_is_a_number(db: Ledger, verb: str) -> None:
    given: dict[str, Any] = {"account_id": "a", "amount": 10, "key": "k"}
    if verb == "add_transaction":
        given["type"] = "GRANT"
    before = everything(db)
    with pytest.raises(psycopg.Error) as caught:
        ask(db, verb, **given, priority=None)
    assert caught.value.sqlstate in {"22004", "22023"}
    for beyond in (2**31, -(2**31) - 1):
        with pytest.raises(psycopg.Error):
            ask(db, verb, **given, priority=beyond)
    assert everything(db) == before


@pytest.mark.parametrize("terms", [{"expires_at": day(1)}, {"priority": 1}, {"priority": -1}])
def test_a_debit_forms_no_lot(db: Ledger, terms: dict[str, Any]) -> None:
    give(db, "A", 10)
    given = {"account_id": "a", "amount": -5, "type": "USAGE", "key": "k", **terms}
    details = refused(db, "22023", "add_transaction", **given)
    assert details["parameter"] == next(iter(terms))
    refused(db, "22023", "add_transaction", **given, fail_insufficient_credits=False)


def test_an_announced_debit_is_a_hold_that_expires_and_has_no_priority(db: Ledger) -> None:
    give(db, "A", 10)
    given = {"account_id": "a", "amount": -5, "type": "USAGE", "key": "k", "is_active": False}
    assert refused(db, "22023", "add_transaction", **given, priority=1)["parameter"] == "priority"
    assert ask(db, "add_transaction", **given, expires_at=day(1))["status"] == "PENDING"
    assert ask(db, "get_transaction", account_id="a", key="k")["expires_at"] == day(1)
    replayed(db, "add_transaction", **given, expires_at=day(1))
    refused(db, "LG002", "add_transaction", **given)
    assert ask(db, "hold", account_id="a", amount=5, key="k", expires_at=day(1))["replayed"] is True
    let_pass(db, "1 day")
    assert value(db, "get_credits", account_id="a") == 10
    assert no_lots(db)


# Repeats


@pytest.mark.parametrize("terms", [{"expires_at": day(2)}, {"priority": 3}])
@pytest.mark.parametrize("verb", ["grant_credits", "top_up"])
def test_a_repeat_on_the_same_terms_changes_nothing(
    db: Ledger, verb: str, terms: dict[str, Any]
) -> None:
    given = {"account_id": "a", "amount": 10, "key": "A", **terms}
    first = ask(db, verb, **given)
    assert replayed(db, verb, **given) == first | {"replayed": True}
    ask(db, "spend", account_id="a", amount=10)
    assert replayed(db, verb, **given)["available"] == 0


@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize(
    ("terms", "other"),
    [
        ({"expires_at": day(2)}, {"expires_at": day(3)}),
        ({"expires_at": day(2)}, {"expires_at": None}),
        ({"expires_at": day(2)}, {"priority": 1}),
        ({"priority": 1}, {"priority": 0}),
        ({"priority": 1}, {"priority": 2}),
        ({"priority": 1}, {"expires_at": day(2)}),
        ({}, {"expires_at": day(2)}),
        ({}, {"priority": -1}),
    ],
)
def test_a_repeat_on_other_terms_is_a_conflict(
    db: Ledger, terms: dict[str, Any], other: dict[str, Any], *, announced: bool
) -> None:
    given = {"account_id": "a", "amount": 10, "key": "A", "is_active": not announced, **terms}
    ask(db, "top_up", **given)
    details = refused(db, "LG002", "top_up", **(given | other))
    for said, terms_of in (("recorded", given), ("given", given | other)):
        assert details[said]["priority"] == terms_of.get("priority", 0)
        # As an instant: the server writes no zeros at the end of a fraction, Python does.
        told = details[said]["expires_at"]
        assert (told and datetime.fromisoformat(told)) == terms_of.get("expires_at")
    refused_as_row(db, "LG002", "top_up", **(given | other))
    replayed(db, "top_up", **given)
    if announced:
        ask(db, "enable_transaction", account_id="a", key="A")
        refused(db, "LG002", "top_up", **(given | other))
        replayed(db, "top_up", **given)


@pytest.mark.parametrize("posted", [False, True])
def test_a_repeat_after_the_lot_expired_is_a_repeat(db: Ledger, *, posted: bool) -> None:
    give(db, "A", 10, day(1))
    let_pass(db, "2 days")
    if posted:
        give(db, "B", 1)
    given = {"account_id": "a", "amount": 10, "key": "A"}
    row = ask(db, "grant_credits", **given, expires_at=day(-1))
    assert (row["replayed"], row["seq"], row["running_balance"]) == (True, 1, 10)
    assert (row["available"], row["balance"]) == ((1, 1) if posted else (0, 0))
    refused(db, "LG002", "grant_credits", **given, expires_at=day(1))
    refused(db, "LG002", "grant_credits", **given, expires_at=day(-2))
    refused(db, "22023", "grant_credits", **(given | {"key": "C"}), expires_at=day(-1))
    assert unreckoned(db) == []


def test_the_same_payment_under_another_key_is_the_first(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "external_id": "pi_1", "expires_at": day(1)}
    ask(db, "top_up", **given, key="A")
    assert replayed(db, "top_up", **given, key="B")["key"] == "A"
    assert left(db) == {"A": 10}


# Announced, and under a ceiling


def test_an_announced_credit_forms_its_lot_when_it_is_enabled(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "is_active": False}
    ask(db, "top_up", **given, key="A", expires_at=day(1))
    ask(db, "top_up", **given, key="B", priority=-1)
    ask(db, "top_up", **given, key="C")
    assert no_lots(db)
    assert ask(db, "get_transaction", account_id="a", key="A")["expires_at"] is None
    for key in "ABC":
        ask(db, "enable_transaction", account_id="a", key=key)
    assert (left(db), pool(db)) == ({"B": 10, "A": 10}, 10)
    assert (lot(db, "A")["expires_at"], lot(db, "B")["priority"]) == (day(1), -1)
    assert unreckoned(db) == []


def test_an_announced_credit_forms_a_lot_of_its_final_amount(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-5)
    ask(db, "spend", account_id="a", amount=5)
    ask(db, "top_up", account_id="a", amount=10, key="A", expires_at=day(1), is_active=False)
    ask(db, "cancel_transaction", account_id="a", key="A")
    ask(db, "enable_transaction", account_id="a", key="A", amount=25, external_id="pi_1")
    assert (left(db), pool(db)) == ({"A": 20}, 0)
    assert unreckoned(db) == []


def test_a_credit_enabled_after_its_credits_expired_is_credited_and_expires(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10, key="A", expires_at=day(1), is_active=False)
    give(db, "B", 3)
    let_pass(db, "1 day")
    row = ask(db, "enable_transaction", account_id="a", key="A")
    assert (row["status"], row["amount"], row["running_balance"]) == ("POSTED", 10, 13)
    assert (row["balance"], row["available"]) == (3, 3)
    assert journal(db) == [("GRANT", 3), ("TOP_UP", 10), ("EXPIRY", -10)]
    (expiry,) = db.execute(
        "select created_at, lot, key from pgledger.transactions where seq = 3"
    ).fetchall()
    assert expiry == {"created_at": row["created_at"], "lot": 2, "key": None}
    assert ask(db, "enable_transaction", account_id="a", key="A")["replayed"] is True
    assert value(db, "get_credits", account_id="a") == 3
    assert ask(db, "refund", account_id="a", original_key="A", amount=3)["balance"] == 0
    assert unreckoned(db) == []


def test_a_ceiling_counts_lots_and_not_what_expired_of_them(db: Ledger) -> None:
    give(db, "A", 40, day(1))
    given = {"account_id": "a", "amount": 30, "ceiling_balance": 50, "expires_at": day(2)}
    row = ask(db, "top_up", **given, key="B")
    assert (row["amount"], row["requested_amount"]) == (10, 30)
    assert (lot(db, "B")["granted"], lot(db, "B")["remaining"]) == (10, 10)
    refused(db, "LG005", "top_up", **given, key="C")
    replayed(db, "top_up", **given, key="B")
    let_pass(db, "1 day")
    row = ask(db, "top_up", **(given | {"expires_at": day(3)}), key="C")
    assert (row["amount"], row["balance"]) == (30, 40)
    assert unreckoned(db) == []


def test_the_greatest_balance_may_be_in_lots(db: Ledger) -> None:
    give(db, "A", HIGHEST, day(1))
    details = refused(db, "22003", "grant_credits", account_id="a", amount=1, expires_at=day(1))
    assert details["balance"] == HIGHEST
    ask(db, "spend", account_id="a", amount=1)
    give(db, "B", 1, priority=-1)
    assert ask(db, "spend", account_id="a", amount=HIGHEST, key="s")["balance"] == 0
    assert paid(db, "s") == [("B", 1), ("A", HIGHEST - 1)]
    assert unreckoned(db) == []


# The list


def test_the_list_shows_open_lots_in_draw_order_and_then_closed_ones_newest_first(
    db: Ledger,
) -> None:
    give(db, "closed1", 1, day(1), priority=-9)
    give(db, "closed2", 1, day(2), priority=-9)
    ask(db, "spend", account_id="a", amount=2)
    for key, expires_at, priority in [
        ("late", None, 1),
        ("next", day(4), 0),
        ("soon", day(3), 0),
        ("gone", day(0.5), 0),
        ("first", day(9), -1),
        ("equal", day(4), 0),
    ]:
        give(db, key, 10, expires_at, priority=priority)
    let_pass(db, "0.5 days")
    rows = ask_all(db, "lots", account_id="a")
    assert [row["key"] for row in rows] == [
        *("first", "soon", "next", "equal", "late"),
        *("gone", "closed2", "closed1"),
    ]
    gone = rows[5]
    assert (gone["expired"], gone["remaining"]) == (10, 0)
    assert ask_all(db, "lots", account_id="a", include_closed=False) == rows[:5]
    assert ask_all(db, "lots", account_id="a", limit_count=2) == rows[:2]
    assert ask_all(db, "lots", account_id="a", limit_count=7) == rows[:7]
    give(db, "pool", 1)
    assert ask_all(db, "lots", account_id="a") == rows


def test_the_list_tells_what_became_of_each_credit(db: Ledger) -> None:
    give(db, "A", 100, day(2))
    ask(db, "spend", account_id="a", amount=30, key="spent")
    ask(db, "reverse_transaction", account_id="a", original_key="spent", amount=5)
    ask(db, "hold", account_id="a", amount=20, key="h")
    found = lot(db, "A")
    columns = ("granted", "drawn", "expired", "held", "remaining")
    assert [found[name] for name in columns] == [100, 25, 0, 20, 55]
    let_pass(db, "2 days")
    for _ in range(2):
        assert [lot(db, "A")[name] for name in columns] == [100, 25, 55, 20, 0]
        ask(db, "run_due")
    ask(db, "capture", account_id="a", key="h", amount=15)
    assert [lot(db, "A")[name] for name in columns] == [100, 40, 60, 0, 0]
    assert unreckoned(db) == []


def test_a_list_of_nobody_is_empty_and_bad_input_is_refused(db: Ledger) -> None:
    give(db, "A", 1, day(1))
    assert ask_all(db, "lots", account_id="nobody") == []
    assert refused(db, "22023", "lots", account_id="")["parameter"] == "account_id"
    for limit in (0, -1, None):
        with pytest.raises(psycopg.Error) as caught:
            ask_all(db, "lots", account_id="a", limit_count=limit)
        assert caught.value.sqlstate in {"22023", "22004"}


def test_nothing_is_listed_as_expiring_at_the_end_of_time(db: Ledger) -> None:
    give(db, "A", 10, datetime(9999, 12, 31, tzinfo=UTC))
    assert lot(db, "A")["expires_at"] == datetime(9999, 12, 31, tzinfo=UTC)


def test_a_lot_that_is_held_whole_is_an_open_one(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    ask(db, "hold", account_id="a", amount=10)
    ask(db, "spend", account_id="a", amount=1, raise_refusals=False)
    give(db, "pool", 5)
    (row,) = ask_all(db, "lots", account_id="a", include_closed=False)
    assert (row["key"], row["held"], row["remaining"]) == ("A", 10, 0)
    assert unreckoned(db) == []
