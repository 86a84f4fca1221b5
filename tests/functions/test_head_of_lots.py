"""What the balance row knows of the lots: which pays next, and how much it can."""

from typing import Any

import pytest

from tests.functions.test_draws import three, total
from tests.support import (
    Ledger,
    ask,
    day,
    give,
    head,
    journal,
    left,
    let_pass,
    paid,
    pool,
    refused,
    unreckoned,
    value,
)

__all__ = ["three"]


@pytest.mark.parametrize("verb", ["spend", "hold"])
@pytest.mark.parametrize("taken_by", ["spend", "hold"])
@pytest.mark.parametrize("first", [-1, 1])
def test_a_key_that_is_taken_leaves_the_head_as_it_was(
    db: Ledger, verb: str, taken_by: str, first: int
) -> None:
    # The lot is the head, or comes after the pool, which is it then.
    give(db, "lot", 10, priority=first)
    give(db, "pool", 10)
    given = {"account_id": "a", "amount": 3, "key": "k", "raise_refusals": False}
    ask(db, taken_by, **given)
    expected = ("lot" if first < 0 else None, 7)
    assert head(db) == expected
    row = ask(db, verb, **given)
    assert (row["replayed"], row["refusal"]) == (
        (True, None) if verb == taken_by else (False, "LG002")
    )
    assert (head(db), pool(db)) == (expected, 10 if first < 0 or taken_by == "hold" else 7)
    assert unreckoned(db) == []


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (1, ("B", 9)),
        (9, ("B", 1)),
        (10, ("B", 0)),
        (11, ("A", 9)),
        (20, (None, None)),
        (21, (None, None)),
    ],
)
def test_the_head_follows_a_spend(
    three: Ledger, amount: int, expected: tuple[str | None, int | None]
) -> None:
    ask(three, "spend", account_id="a", amount=amount, key="s")
    assert head(three) == expected
    assert sum(source for _, source in paid(three, "s")) == amount
    assert unreckoned(three) == []
    # What comes next finds the right head, also where the fast path has emptied this one.
    assert ask(three, "spend", account_id="a", amount=1, key="t")["available"] == 29 - amount
    assert paid(three, "t") == [("A" if amount == 10 else expected[0], 1)]
    assert unreckoned(three) == []


@pytest.mark.parametrize(
    ("amount", "expected"), [(3, (None, 7)), (10, (None, 0)), (13, ("late", 7)), (20, None)]
)
def test_the_pool_is_the_head_with_a_bound_where_lots_come_after_it(
    db: Ledger, amount: int, expected: tuple[str | None, int] | None
) -> None:
    give(db, "pool", 10)
    give(db, "late", 10, priority=1)
    assert head(db) == (None, 10)
    ask(db, "spend", account_id="a", amount=amount)
    if expected:
        assert head(db) == expected
    assert unreckoned(db) == []
    refused(db, "LG001", "spend", account_id="a", amount=21 - amount)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"priority": -1}, ("new", 5)),
        ({"expires_at": day(0.5)}, ("new", 5)),
        ({"expires_at": day(1)}, ("A", 8)),
        ({"expires_at": day(2)}, ("A", 8)),
        ({"expires_at": day(0.5), "priority": 1}, ("A", 8)),
        ({}, ("A", 8)),
    ],
)
def test_a_credit_becomes_the_head_only_where_it_comes_first(
    db: Ledger, terms: dict[str, Any], expected: tuple[str, int]
) -> None:
    give(db, "A", 10, day(1))
    ask(db, "spend", account_id="a", amount=2)
    give(db, "new", 5, **terms)
    assert head(db) == expected
    assert left(db)["A"] == 8
    assert unreckoned(db) == []
    ask(db, "spend", account_id="a", amount=13, key="s")
    assert sorted(total(paid(db, "s")).values()) == [5, 8]
    assert unreckoned(db) == []


def test_credits_for_the_pool_move_its_bound(db: Ledger) -> None:
    give(db, "late", 10, priority=1)
    assert head(db) == ("late", 10)
    ask(db, "spend", account_id="a", amount=4)
    give(db, "pool", 5)
    assert (head(db), left(db)) == ((None, 5), {"late": 6})
    give(db, "more", 2)
    ask(db, "add_transaction", account_id="a", amount=3, type="ADJUSTMENT")
    assert head(db) == (None, 10)
    ask(db, "spend", account_id="a", amount=12, key="s")
    assert paid(db, "s") == [(None, 10), ("late", 2)]
    assert unreckoned(db) == []


def test_credits_and_debits_of_all_sizes_in_turn(db: Ledger) -> None:
    for n in range(60):
        if n % 3 == 0:
            expires_at = day(9 - n % 5) if n // 3 % 3 == 1 else None
            priority = n % 4 - 2 if n // 3 % 3 == 2 else 0
            give(db, f"k{n}", 7 + n % 11, expires_at, priority=priority)
        given = {"account_id": "a", "amount": 1 + n % 9, "key": f"s{n}", "shortfall": "PARTIAL"}
        ask(db, "spend", **given, raise_refusals=False)
        assert unreckoned(db) == []


@pytest.mark.parametrize("terms", [{}, {"priority": -1}, {"expires_at": day(1)}])
def test_an_announcement_leaves_the_head_as_it_was(db: Ledger, terms: dict[str, Any]) -> None:
    give(db, "A", 10, day(2))
    ask(db, "spend", account_id="a", amount=3)
    ask(db, "top_up", account_id="a", amount=7, key="B", is_active=False, **terms)
    assert head(db) == ("A", 7)
    ask(db, "spend", account_id="a", amount=1)
    ask(db, "cancel_transaction", account_id="a", key="B")
    assert head(db) == ("A", 6)
    assert unreckoned(db) == []


def test_asking_for_a_top_up_leaves_the_head_as_it_was(db: Ledger) -> None:
    give(db, "A", 10, day(2))
    ask(db, "set_auto_top_up", account_id="a", threshold=8, amount=5)
    ask(db, "spend", account_id="a", amount=3)
    assert ask(db, "get_auto_top_up", account_id="a")["waiting_for"] == "#auto-1"
    assert head(db) == ("A", 7)
    ask(db, "enable_transaction", account_id="a", key="#auto-1")
    ask(db, "set_auto_top_up", account_id="a", threshold=12, amount=5, mode="INSTANT")
    ask(db, "spend", account_id="a", amount=1)
    assert (head(db), pool(db)) == (("A", 6), 10)
    assert unreckoned(db) == []


# Without the balance row


def test_a_lost_balance_row_comes_back_with_its_lots(db: Ledger) -> None:
    give(db, "pool", 7)
    give(db, "A", 10, day(1))
    give(db, "B", 10, day(2))
    give(db, "late", 10, priority=1)
    ask(db, "hold", account_id="a", amount=4, key="one")
    ask(db, "hold", account_id="a", amount=10, key="several")
    ask(db, "spend", account_id="a", amount=2)
    db.execute("select pgledger.set_limits('a', -1)")
    (before,) = db.execute("select * from pgledger.balances").fetchall()
    assert (before["pool"], before["held_in_lots"], before["head_left"]) == (7, 14, 4)
    db.execute("delete from pgledger.balances")
    assert value(db, "get_credits", account_id="a") == 21
    assert left(db) == {"B": 4, "late": 10}
    ask(db, "top_up", account_id="a", amount=1, key="new")
    (after,) = db.execute("select * from pgledger.balances").fetchall()
    kept = ("held", "held_in_lots", "head_lot", "head_left", "pending_rows", "floor")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert (after["balance"], after["pool"]) == (36, 8)
    assert unreckoned(db) == []


@pytest.mark.parametrize(
    ("spend", "expected"),
    [
        (1, ("A", 9)),
        (10, ("B", 10)),
        (12, ("B", 8)),
        (20, (None, 5)),
        (22, (None, 3)),
        (25, ("C", 10)),
    ],
)
def test_a_lost_balance_row_comes_back_with_its_head(
    db: Ledger, spend: int, expected: tuple[str | None, int]
) -> None:
    give(db, "pool", 5)
    give(db, "A", 10, day(1))
    give(db, "B", 10, day(2))
    give(db, "C", 10, priority=1)
    ask(db, "spend", account_id="a", amount=spend)
    db.execute("delete from pgledger.balances")
    row = ask(db, "spend", account_id="a", amount=36, raise_refusals=False)
    assert (row["refusal"], row["available"]) == ("LG001", 35 - spend)
    assert head(db) == expected
    assert unreckoned(db) == []


def test_a_lost_balance_row_comes_back_where_a_lot_expired_meanwhile(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    give(db, "B", 10, day(2))
    ask(db, "spend", account_id="a", amount=3)
    let_pass(db, "1 day")
    db.execute("delete from pgledger.balances")
    assert value(db, "get_credits", account_id="a") == 10
    assert ask(db, "spend", account_id="a", amount=4)["balance"] == 6
    assert journal(db)[2:] == [("USAGE", -3), ("EXPIRY", -7), ("USAGE", -4)]
    assert head(db) == ("B", 6)
    assert unreckoned(db) == []
