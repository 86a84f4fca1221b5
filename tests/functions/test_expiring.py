"""What is about to go: how much, when, and what of it is held."""

from datetime import timedelta

import psycopg
import pytest

from tests.support import (
    Ledger,
    ask,
    ask_all,
    day,
    everything,
    give,
    let_pass,
    refused,
    write_history,
)


@pytest.fixture
def some(db: Ledger) -> Ledger:
    """Lots of 10 that expire in 1, 2, 3 and 40 days and never, drawn in another order."""
    give(db, "C", 10, day(3), priority=-3)
    give(db, "B", 10, day(2), priority=1)
    give(db, "A", 10, day(1))
    give(db, "D", 10, day(40))
    give(db, "never", 10, priority=-1)
    give(db, "pool", 10)
    return db


def test_what_expires_within_a_time_is_listed_soonest_first(some: Ledger) -> None:
    assert ask_all(some, "expiring", account_id="a") == [
        {"lot": 3, "key": "A", "amount": 10, "held": 0, "expires_at": day(1), "priority": 0},
        {"lot": 2, "key": "B", "amount": 10, "held": 0, "expires_at": day(2), "priority": 1},
        {"lot": 1, "key": "C", "amount": 10, "held": 0, "expires_at": day(3), "priority": -3},
    ]


@pytest.mark.parametrize(
    ("within", "keys"),
    [
        ("1 hour", ""),
        ("2 days 1 hour", "AB"),
        ("30 days", "ABC"),
        ("100 years", "ABCD"),
    ],
)
def test_the_time_is_the_callers(some: Ledger, within: str, keys: str) -> None:
    found = ask_all(some, "expiring", account_id="a", within=within)
    assert [row["key"] for row in found] == list(keys)


@pytest.mark.parametrize(("ticks", "keys"), [(-1, "A"), (0, "A"), (1, "")])
def test_what_expires_at_the_end_of_that_time_is_within_it(
    db: Ledger, ticks: int, keys: str
) -> None:
    give(db, "A", 10, day(3))
    # The statements of one message share the instant at which it came.
    cursor = db.execute(
        "update pgledger.lots set expires_at ="
        f" statement_timestamp() + interval '1 day {ticks} microseconds';"
        " select key from pgledger.expiring('a', '1 day')"
    )
    while cursor.nextset():
        pass
    assert [row["key"] for row in cursor.fetchall()] == list(keys)


def test_what_is_spent_does_not_expire_and_what_is_held_not_yet(some: Ledger) -> None:
    ask(some, "spend", account_id="a", amount=10, key="c")
    ask(some, "hold", account_id="a", amount=10 + 4)
    before = everything(some)
    found = ask_all(some, "expiring", account_id="a")
    assert [(row["key"], row["amount"], row["held"]) for row in found] == [
        ("A", 6, 4),
        ("B", 10, 0),
    ]
    assert everything(some) == before
    ask(some, "spend", account_id="a", amount=3)
    assert ask_all(some, "expiring", account_id="a")[0]["amount"] == 3


def test_what_has_expired_is_not_about_to(some: Ledger) -> None:
    let_pass(some, "1 day")
    for _ in range(2):
        found = ask_all(some, "expiring", account_id="a")
        assert [row["key"] for row in found] == ["B", "C"]
        ask(some, "run_due")


def test_a_lot_without_a_key_goes_by_its_seq(db: Ledger) -> None:
    ask(db, "grant_credits", account_id="a", amount=1, expires_at=day(1))
    assert ask(db, "expiring", account_id="a")["key"] == "#1"


def test_nothing_expires_of_an_unknown_account_or_foreign_history(db: Ledger) -> None:
    assert ask_all(db, "expiring", account_id="nobody") == []
    write_history(db, "a", 10)
    assert ask_all(db, "expiring", account_id="a") == []
    assert refused(db, "22023", "expiring", account_id="")["parameter"] == "account_id"


def test_a_time_that_is_missing_is_refused(some: Ledger) -> None:
    with pytest.raises(psycopg.Error) as caught:
        ask_all(some, "expiring", account_id="a", within=None)
    assert caught.value.sqlstate in {"22023", "22004"}


# The same in the balance


def test_the_balance_tells_what_expires_next(some: Ledger) -> None:
    row = ask(some, "get_balance", account_id="a")
    assert list(row)[-2:] == ["next_expiry_at", "next_expiry_amount"]
    assert (row["next_expiry_at"], row["next_expiry_amount"]) == (day(1), 10)
    give(some, "A2", 3, day(1), priority=9)
    ask(some, "hold", account_id="a", amount=24)
    row = ask(some, "get_balance", account_id="a")
    assert (row["next_expiry_at"], row["next_expiry_amount"]) == (day(1), 9)
    ask(some, "spend", account_id="a", amount=6)
    row = ask(some, "get_balance", account_id="a")
    assert (row["next_expiry_at"], row["next_expiry_amount"]) == (day(1), 3)
    let_pass(some, "1 day 1 hour")
    row = ask(some, "get_balance", account_id="a")
    expected = day(1) - timedelta(hours=1)
    assert (row["next_expiry_at"], row["next_expiry_amount"]) == (expected, 10)


def test_the_balance_tells_nothing_where_nothing_expires(db: Ledger) -> None:
    give(db, "never", 10, priority=1)
    row = ask(db, "get_balance", account_id="a")
    assert (row["next_expiry_at"], row["next_expiry_amount"]) == (None, None)
    row = ask(db, "get_balance", account_id="nobody")
    assert (row["next_expiry_at"], row["next_expiry_amount"]) == (None, None)
    give(db, "A", 10, day(1))
    ask(db, "spend", account_id="a", amount=10)
    assert ask(db, "get_balance", account_id="a")["next_expiry_at"] is None
