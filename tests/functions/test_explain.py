"""The numbers in words: which lots paid for what and why, and what a balance is made of."""

from typing import Any

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
    value,
    write_history,
)


@pytest.fixture
def some(db: Ledger) -> Ledger:
    """A of 10 until tomorrow, first of 10, 10 in the pool, 10 that come last."""
    give(db, "A", 10, day(1))
    give(db, "first", 10, priority=-1)
    give(db, "pool", 10)
    give(db, "last", 10, day(2), priority=1)
    return db


def explained(db: Ledger, key: str) -> list[tuple[str | None, int]]:
    """Return the lot (None: the pool) and the amount of each row, in order; each has its reason."""
    rows = ask_all(db, "explain_transaction", account_id="a", key=key)
    assert [row["place"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row["reason"] for row in rows)
    assert [row["lot"] is None for row in rows] == [row["lot_key"] is None for row in rows]
    return [(row["lot_key"], row["amount"]) for row in rows]


def items(db: Ledger, account_id: str = "a") -> list[tuple[str, str | None, int]]:
    rows = ask_all(db, "explain_balance", account_id=account_id)
    assert all(row["words"] for row in rows)
    return [(row["item"], row["key"], row["amount"]) for row in rows]


# A transaction


def test_a_spend_is_explained_source_by_source(some: Ledger) -> None:
    ask(some, "spend", account_id="a", amount=33, key="s")
    before = everything(some)
    rows = ask_all(some, "explain_transaction", account_id="a", key="s")
    reasons = [row.pop("reason") for row in rows]
    assert rows == [
        {
            "place": place,
            "lot": lot,
            "lot_key": key,
            "amount": amount,
            "priority": priority,
            "expires_at": expires_at,
        }
        for place, lot, key, amount, priority, expires_at in [
            (1, 2, "first", 10, -1, None),
            (2, 1, "A", 10, 0, day(1)),
            (3, None, None, 10, 0, None),
            (4, 4, "last", 3, 1, day(2)),
        ]
    ]
    assert len(set(reasons)) == 4
    for word, reason in zip(("priority", "expires", "pool", "priority"), reasons, strict=True):
        assert word in reason, reasons
    assert everything(some) == before


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(10, [("first", 10)]), (4, [("first", 4)]), (12, [("first", 10), ("A", 2)])],
)
def test_a_spend_from_one_lot_is_explained_as_one_from_several(
    some: Ledger, amount: int, expected: list[tuple[str, int]]
) -> None:
    ask(some, "spend", account_id="a", amount=amount, key="s")
    assert explained(some, "s") == expected
    assert explained(some, "#5") == expected


def test_a_debt_is_called_one(some: Ledger) -> None:
    given = {"account_id": "a", "type": "ADJUSTMENT", "fail_insufficient_credits": False}
    ask(some, "add_transaction", **given, amount=-45, key="s")
    rows = ask_all(some, "explain_transaction", account_id="a", key="s")
    assert sum(row["amount"] for row in rows) == 45
    assert "debt" in " ".join(row["reason"] for row in rows)
    assert sum(row["amount"] for row in rows if row["lot"] is None) == 15


def test_a_hold_is_explained_by_what_it_reserves_and_a_capture_by_what_it_took(
    some: Ledger,
) -> None:
    ask(some, "hold", account_id="a", amount=14, key="h")
    assert explained(some, "h") == [("first", 10), ("A", 4)]
    ask(some, "hold", account_id="a", amount=6, key="i")
    assert explained(some, "i") == [("A", 6)]
    ask(some, "capture", account_id="a", key="h", amount=11)
    assert explained(some, "h") == [("first", 10), ("A", 1)]


def test_a_credit_is_explained_by_where_it_went(some: Ledger) -> None:
    for key, lot in (("A", "A"), ("first", "first"), ("pool", None)):
        assert explained(some, key) == [(lot, 10)]
    ask(some, "spend", account_id="a", amount=15, key="s")
    ask(some, "reverse_transaction", account_id="a", original_key="s", amount=7, key="r")
    rows = ask_all(some, "explain_transaction", account_id="a", key="r")
    assert {row["lot_key"]: abs(row["amount"]) for row in rows} == {"A": 5, "first": 2}


def test_a_credit_that_paid_a_debt_is_explained(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    ask(db, "spend", account_id="a", amount=4)
    give(db, "A", 10, day(1))
    rows = ask_all(db, "explain_transaction", account_id="a", key="A")
    assert sum(abs(row["amount"]) for row in rows) == 10
    assert {row["lot_key"]: abs(row["amount"]) for row in rows} == {None: 4, "A": 6}
    assert "debt" in " ".join(row["reason"] for row in rows)


def test_an_expiry_is_explained(some: Ledger) -> None:
    let_pass(some, "1 day")
    ask(some, "run_due")
    assert explained(some, "#5") == [("A", 10)]


def test_history_is_explained_by_the_pool(db: Ledger) -> None:
    write_history(db, "a", 10, -4, key="old")
    assert explained(db, "old2") == [(None, 4)]
    assert explained(db, "#1") == [(None, 10)]


def test_nothing_explains_an_unknown_key(some: Ledger) -> None:
    assert ask_all(some, "explain_transaction", account_id="a", key="other") == []
    assert ask_all(some, "explain_transaction", account_id="nobody", key="A") == []
    for given in ({"account_id": "", "key": "A"}, {"account_id": "a", "key": ""}):
        refused(some, "22023", "explain_transaction", **given)


# A balance


def test_a_balance_is_its_pool_and_its_lots(some: Ledger) -> None:
    before = everything(some)
    assert items(some) == [
        ("pool", None, 10),
        ("lot", "first", 10),
        ("lot", "A", 10),
        ("lot", "last", 10),
        ("balance", None, 40),
        ("held", None, 0),
        ("available", None, 40),
    ]
    rows = {row["key"]: row for row in ask_all(some, "explain_balance", account_id="a")}
    assert (rows["A"]["lot"], rows["A"]["expires_at"]) == (1, day(1))
    assert rows["first"]["expires_at"] is None
    assert everything(some) == before


def summed(db: Ledger) -> dict[str, int]:
    """Return the sum of the amounts of each kind of item."""
    sums: dict[str, int] = {}
    for item, _, amount in items(db):
        sums[item] = sums.get(item, 0) + (amount or 0)
    return sums


def check(db: Ledger) -> dict[str, Any]:
    """Require that the items add up to what get_balance says."""
    sums = summed(db)
    row = ask(db, "get_balance", account_id="a")
    assert sums["balance"] == row["balance"]
    assert -sums.get("held", 0) == row["held"]
    assert sums["available"] == row["available"] == value(db, "get_credits", account_id="a")
    assert sums["balance"] + sums.get("held", 0) == sums["available"]
    assert sums["pool"] + sums.get("lot", 0) + sums.get("debt", 0) == sums["balance"]
    return sums


def test_what_is_held_is_told_and_counts_in_the_lot(some: Ledger) -> None:
    ask(some, "hold", account_id="a", amount=14, key="h")
    assert check(some)["held"] == -14
    ask(some, "spend", account_id="a", amount=20)
    assert check(some)["available"] == 6


def test_what_is_due_and_not_posted_is_told_apart(some: Ledger) -> None:
    ask(some, "hold", account_id="a", amount=12, key="h", expires_at=day(0.5))
    let_pass(some, "1 day")
    assert check(some)["balance"] == 30
    due = [row for row in ask_all(some, "explain_balance", account_id="a") if row["item"] == "due"]
    assert [row["expires_at"] for row in due if row["key"] == "A"] == [day(0)]
    assert ("lot", "A") not in [(item, key) for item, key, _ in items(some)]
    ask(some, "run_due")
    assert check(some).get("due") is None
    assert check(some)["balance"] == 30


def test_a_debt_has_a_row_of_its_own(some: Ledger) -> None:
    given = {"account_id": "a", "type": "ADJUSTMENT", "fail_insufficient_credits": False}
    ask(some, "add_transaction", **given, amount=-45)
    sums = check(some)
    assert (sums["debt"], sums["pool"], sums["balance"]) == (-5, 0, -5)


def test_an_account_without_lots_is_its_pool(db: Ledger) -> None:
    give(db, "pool", 10)
    ask(db, "hold", account_id="a", amount=3)
    assert items(db) == [
        ("pool", None, 10),
        ("balance", None, 10),
        ("held", None, -3),
        ("available", None, 7),
    ]
    check(db)


def test_an_unknown_account_has_nothing(db: Ledger) -> None:
    assert all(amount == 0 for _, _, amount in items(db, "nobody"))
    refused(db, "22023", "explain_balance", account_id="")
