"""Which lot pays: the order, how it is recorded, and what the balance row knows of it."""

import itertools
from typing import Any

import pytest

from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    day,
    events,
    give,
    head,
    journal,
    left,
    paid,
    pool,
    posted,
    refused,
    refused_as_row,
    replayed,
    unreckoned,
    value,
)

# In draw order: by priority, then by expiry, then by age; the pool is None.
IN_ORDER: list[tuple[str | None, float | None, int]] = [
    ("never-2", None, -2),
    ("day1-1", 1, -1),
    ("day9-1", 9, -1),
    ("never-1", None, -1),
    ("day1", 1, 0),
    ("day2", 2, 0),
    (None, None, 0),
    ("day1+1", 1, 1),
    ("day2+1", 2, 1),
    ("never+1", None, 1),
    ("day1+2", 1, 2),
]


def stored(db: Ledger, key: str) -> tuple[int | None, list[tuple[int, int | None, int]]]:
    """Return the column lot of a transaction, and its rows in draws."""
    (row,) = db.execute(
        "select seq, lot from pgledger.transactions where key = %s", [key]
    ).fetchall()
    found = db.execute(
        "select place, lot, amount from pgledger.draws where seq = %s order by place", [row["seq"]]
    )
    return row["lot"], [(each["place"], each["lot"], each["amount"]) for each in found]


def total(draws: list[tuple[str | None, int]]) -> dict[str | None, int]:
    """Return how much each source paid, in whatever order."""
    sums: dict[str | None, int] = {}
    for source, amount in draws:
        sums[source] = sums.get(source, 0) + amount
    return sums


@pytest.fixture
def three(db: Ledger) -> Ledger:
    """A of 10 until tomorrow, B of 10 that never expires and comes first, 10 in the pool."""
    give(db, "A", 10, day(1))
    give(db, "B", 10, priority=-1)
    give(db, "pool", 10)
    return db


# The order


@pytest.mark.parametrize("reverse", [False, True])
def test_lots_pay_by_priority_then_expiry_with_the_pool_between(
    db: Ledger, *, reverse: bool
) -> None:
    for name, days, priority in reversed(IN_ORDER) if reverse else IN_ORDER:
        give(db, name or "pool", 10, None if days is None else day(days), priority=priority)
    names = [name for name, _, _ in IN_ORDER]
    assert list(left(db)) == [name for name in names if name]
    ask(db, "spend", account_id="a", amount=10 * len(IN_ORDER), key="s")
    assert paid(db, "s") == [(name, 10) for name in names]
    assert (left(db), pool(db), value(db, "get_credits", account_id="a")) == ({}, 0, 0)
    assert unreckoned(db) == []


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(IN_ORDER, 2)))
@pytest.mark.parametrize("reverse", [False, True])
def test_of_any_two_the_first_in_order_pays_first(
    db: Ledger,
    one: tuple[str | None, float | None, int],
    other: tuple[str | None, float | None, int],
    *,
    reverse: bool,
) -> None:
    for name, days, priority in (other, one) if reverse else (one, other):
        give(db, name or "pool", 10, None if days is None else day(days), priority=priority)
    for key, amount in (("s", 4), ("t", 7), ("u", 9)):
        ask(db, "spend", account_id="a", amount=amount, key=key)
    assert paid(db, "s") == [(one[0], 4)]
    assert paid(db, "t") == [(one[0], 6), (other[0], 1)]
    assert paid(db, "u") == [(other[0], 9)]
    assert unreckoned(db) == []


def test_of_equal_lots_the_oldest_pays_first(db: Ledger) -> None:
    for key in "CAB":
        give(db, key, 10, day(1), priority=5)
    for key in "FDE":
        give(db, key, 1, priority=5)
    ask(db, "spend", account_id="a", amount=33, key="s")
    assert paid(db, "s") == [("C", 10), ("A", 10), ("B", 10), ("F", 1), ("D", 1), ("E", 1)]
    assert unreckoned(db) == []


@pytest.mark.parametrize("apart", ["1 microsecond", "1 day"])
def test_expiry_is_compared_to_the_microsecond(db: Ledger, apart: str) -> None:
    (row,) = db.execute("select %s + %s::interval as later", [day(1), apart]).fetchall()
    give(db, "later", 10, row["later"])
    give(db, "sooner", 10, day(1))
    ask(db, "spend", account_id="a", amount=15, key="s")
    assert paid(db, "s") == [("sooner", 10), ("later", 5)]


# How it is recorded


def test_one_source_is_told_in_a_column_and_several_in_rows(three: Ledger) -> None:
    for key, amount in (("one", 10), ("two", 12), ("pool alone", 5)):
        ask(three, "spend", account_id="a", amount=amount, key=key)
    assert stored(three, "one") == (2, [])
    assert stored(three, "two") == (0, [(1, 1, 10), (2, None, 2)])
    assert stored(three, "pool alone") == (None, [])
    found = three.execute(
        "select account_id, seq, place, lot, amount from pgledger.transaction_draws"
        " order by seq, place"
    ).fetchall()
    assert [tuple(row.values()) for row in found] == [
        ("a", 4, 1, 2, 10),
        ("a", 5, 1, 1, 10),
        ("a", 5, 2, None, 2),
        ("a", 6, 1, None, 5),
    ]
    assert unreckoned(three) == []


def test_each_account_draws_from_its_own(db: Ledger) -> None:
    for account_id in ("a", "b"):
        give(db, "A", 10, day(1), account_id=account_id)
        give(db, "B", 10, day(2), account_id=account_id)
    ask(db, "spend", account_id="a", amount=15, key="s")
    assert (paid(db, "s"), paid(db, "s", "b")) == ([("A", 10), ("B", 5)], [])
    assert left(db, "b") == {"A": 10, "B": 10}
    assert unreckoned(db) == []


def test_a_lot_is_drawn_by_many(db: Ledger) -> None:
    give(db, "A", 100, day(1))
    for n in range(10):
        ask(db, "spend", account_id="a", amount=10, key=f"s{n}")
    assert [paid(db, f"s{n}") for n in range(10)] == [[("A", 10)]] * 10
    assert refused(db, "LG001", "spend", account_id="a", amount=1)["available"] == 0
    assert unreckoned(db) == []


def test_a_spend_draws_from_a_thousand_lots(db: Ledger) -> None:
    db.execute(
        "select count(pgledger.grant_credits('a', 1, 'k' || n, expires_at => %s,"
        " priority => n %% 3)) from generate_series(1, 1000) n",
        [day(1)],
    )
    ask(db, "spend", account_id="a", amount=999, key="s")
    assert len(paid(db, "s")) == 999
    assert head(db) == ("k998", 1)
    assert unreckoned(db) == []


def test_a_repeated_spend_draws_once(three: Ledger) -> None:
    given = {"account_id": "a", "amount": 25, "key": "s"}
    first = ask(three, "spend", **given)
    assert replayed(three, "spend", **given) == first | {"replayed": True}
    given["key"] = "t"
    given["amount"] = 1
    first = ask(three, "spend", **given)
    assert replayed(three, "spend", **given) == first | {"replayed": True}
    refused(three, "LG002", "spend", **(given | {"amount": 2}))
    assert unreckoned(three) == []


# Beyond what is there


def test_a_partial_spend_takes_all_lots_and_the_pool(three: Ledger) -> None:
    row = ask(three, "spend", account_id="a", amount=35, key="s", shortfall="PARTIAL")
    assert (row["amount"], row["requested_amount"], row["available"]) == (-30, -35, 0)
    assert paid(three, "s") == [("B", 10), ("A", 10), (None, 10)]
    refused(three, "LG001", "spend", account_id="a", amount=1, shortfall="PARTIAL")
    assert unreckoned(three) == []


@pytest.mark.parametrize("way", ["DEBT", "FORCE", "min_balance", "hold"])
def test_what_no_lot_covers_is_a_debt_of_the_pool(three: Ledger, way: str) -> None:
    give(three, "late", 10, day(1), priority=1)
    ask(three, "set_limits", account_id="a", min_balance=0, debt_floor=-100)
    given = {"account_id": "a", "key": "s"}
    if way == "DEBT":
        ask(three, "spend", **given, amount=60, shortfall="DEBT")
    elif way == "FORCE":
        ask(
            three,
            "add_transaction",
            **given,
            amount=-60,
            type="REFUND",
            fail_insufficient_credits=False,
        )
    else:
        ask(three, "set_limits", account_id="a", min_balance=-100)
        ask(three, "hold" if way == "hold" else "spend", **given, amount=60)
        if way == "hold":
            ask(three, "capture", **given)
    assert total(paid(three, "s")) == {"B": 10, "A": 10, None: 30, "late": 10}
    assert (pool(three), left(three)) == (-20, {})
    assert unreckoned(three) == []
    give(three, "new", 25, day(2))
    assert (pool(three), left(three)) == (0, {"new": 5})
    assert unreckoned(three) == []


@pytest.mark.parametrize("verb", ["spend", "hold"])
@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (10, [("A", 10)]),
        (14, [("A", 10), ("B", 4)]),
        (20, [("A", 10), ("B", 10)]),
        (23, [("A", 10), ("B", 10), ("late", 3)]),
        (30, [("A", 10), ("B", 10), ("late", 10)]),
        (33, [("A", 10), ("B", 10), ("late", 10), (None, 3)]),
    ],
)
def test_a_debt_beside_lots_is_not_paid_by_what_is_drawn(
    db: Ledger, verb: str, amount: int, expected: list[tuple[str | None, int]]
) -> None:
    give(db, "A", 10, day(1))
    give(db, "B", 10, day(2))
    give(db, "late", 10, priority=1)
    ask(db, "spend", account_id="a", amount=30, key="before")
    given = {"account_id": "a", "type": "ADJUSTMENT", "fail_insufficient_credits": False}
    ask(db, "add_transaction", **given, amount=-4)
    ask(db, "reverse_transaction", account_id="a", original_key="before")
    ask(db, "set_limits", account_id="a", min_balance=-100)
    assert (pool(db), head(db), sum(left(db).values())) == (-4, ("A", 10), 30)
    ask(db, verb, account_id="a", amount=amount, key="s")
    if verb == "hold":
        ask(db, "capture", account_id="a", key="s")
    assert paid(db, "s") == expected
    assert pool(db) == -4 - dict(expected).get(None, 0)
    assert unreckoned(db) == []


def test_a_floor_above_nothing_is_kept_over_lots(three: Ledger) -> None:
    ask(three, "set_limits", account_id="a", min_balance=-5)
    details = refused(three, "LG001", "spend", account_id="a", amount=36)
    assert (details["available"], details["floor"], details["missing"]) == (30, -5, 1)
    assert ask(three, "spend", account_id="a", amount=35)["available"] == -5
    refused_as_row(three, "LG001", "spend", account_id="a", amount=1)
    assert unreckoned(three) == []


def test_amounts_near_the_end_of_bigint_are_refused_in_numbers(three: Ledger) -> None:
    details = refused(three, "LG001", "spend", account_id="a", amount=HIGHEST)
    assert (details["missing"], details["available"]) == (HIGHEST - 30, 30)
    ask(three, "spend", account_id="a", amount=HIGHEST, shortfall="PARTIAL", key="s")
    assert posted(three, "a")[-1] == -30
    assert unreckoned(three) == []


# Whatever debits


@pytest.mark.parametrize("type_", ["USAGE", "ADJUSTMENT", "REFUND", "EXPIRY", "CARD_CHECK"])
@pytest.mark.parametrize("way", [{}, {"external_id": "x"}, {"fail_insufficient_credits": False}])
def test_any_debit_draws_in_order(three: Ledger, type_: str, way: dict[str, Any]) -> None:
    ask(three, "add_transaction", account_id="a", amount=-25, type=type_, key="s", **way)
    assert paid(three, "s") == [("B", 10), ("A", 10), (None, 5)]
    assert pool(three) == 5
    assert unreckoned(three) == []


def test_a_transfer_draws_lots_and_arrives_in_the_pool(three: Ledger) -> None:
    give(three, "A", 3, day(1), account_id="to")
    ask(three, "transfer", from_account_id="a", to_account_id="to", amount=25, key="s")
    assert paid(three, "s") == [("B", 10), ("A", 10), (None, 5)]
    assert (pool(three, "to"), left(three, "to"), paid(three, "s", "to")) == (25, {"A": 3}, [])
    assert unreckoned(three) == []
    ask(three, "transfer", from_account_id="to", to_account_id="a", amount=28, key="back")
    assert paid(three, "back", "to") == [("A", 3), (None, 25)]
    assert (pool(three), left(three)) == (33, {})
    assert unreckoned(three) == []
    refused(three, "LG001", "transfer", from_account_id="to", to_account_id="a", amount=1)


def test_a_transfer_moves_what_fits_the_head(three: Ledger) -> None:
    ask(three, "open_account", account_id="to")
    ask(three, "transfer", from_account_id="a", to_account_id="to", amount=4, key="s")
    assert (paid(three, "s"), head(three), pool(three)) == ([("B", 4)], ("B", 6), 10)
    assert unreckoned(three) == []


# What watches the level


@pytest.mark.parametrize("mode", ["INTENT", "INSTANT"])
@pytest.mark.parametrize("amount", [21, 25, 30])
def test_a_spend_over_lots_asks_for_a_top_up(three: Ledger, mode: str, amount: int) -> None:
    ask(three, "set_auto_top_up", account_id="a", threshold=10, amount=50, mode=mode)
    ask(three, "set_low_balance_level", account_id="a", level=10)
    ask(three, "spend", account_id="a", amount=20)
    assert events(three) == []
    ask(three, "spend", account_id="a", amount=amount - 20, key="s")
    asked = ask(three, "get_transaction", account_id="a", key="#auto-1")
    assert (asked["amount"], asked["status"]) == (
        50,
        "POSTED" if mode == "INSTANT" else "PENDING",
    )
    assert next(kind for kind, _ in events(three)) == "low_balance"
    assert unreckoned(three) == []


@pytest.mark.parametrize("amount", [4, 10, 13, 24, 28])
def test_one_spend_that_straddles_asks_for_a_top_up_by_the_level_it_leaves(
    three: Ledger, amount: int
) -> None:
    ask(three, "set_auto_top_up", account_id="a", threshold=31 - amount, amount=50, mode="INSTANT")
    row = ask(three, "spend", account_id="a", amount=amount, key="s")
    assert (row["balance"], row["running_balance"]) == (80 - amount, 30 - amount)
    assert journal(three)[-1] == ("TOP_UP", 50)
    assert pool(three) == 80 - amount - sum(left(three).values())
    assert unreckoned(three) == []


def test_credits_in_lots_count_for_the_level(three: Ledger) -> None:
    ask(three, "set_auto_top_up", account_id="a", threshold=5, amount=50)
    assert ask_all(three, "check_auto_top_up", account_id="a") == []
    ask(three, "spend", account_id="a", amount=25)
    assert ask_all(three, "check_auto_top_up", account_id="a") == []
