"""A hold reserves in lots: what it reserves, what of it is spent, and what goes back."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support import (
    Ledger,
    ask,
    ask_all,
    day,
    events,
    expiries,
    give,
    head,
    journal,
    left,
    let_expire,
    let_pass,
    paid,
    pending,
    pool,
    refused,
    refused_as_row,
    replayed,
    unreckoned,
    value,
)


@pytest.fixture
def three(db: Ledger) -> Ledger:
    """A of 10 until tomorrow, B of 10 for two days, 10 in the pool, and 10 that come last."""
    give(db, "A", 10, day(1))
    give(db, "B", 10, day(2))
    give(db, "pool", 10)
    give(db, "late", 10, priority=1)
    return db


def reserved(db: Ledger, key: str = "h") -> list[tuple[str | None, int]]:
    """Return in which lots (None: the pool) a hold reserves how much, in order."""
    found = db.execute(
        "select case when x.lot is not null then coalesce(l.key, '#' || x.lot) end as lot, x.amount"
        " from pgledger.pending_transactions p cross join lateral ("
        "   select 1 as place, p.lot, -p.amount as amount where p.lot is distinct from 0"
        "   union all select r.place, r.lot, r.amount from pgledger.reservations r"
        "   where r.account_id = p.account_id and r.key = p.key) x"
        " left join pgledger.transactions l on l.account_id = p.account_id and l.seq = x.lot"
        " where p.key = %s and p.status = 'PENDING' order by x.place",
        [key],
    )
    return [(row["lot"], row["amount"]) for row in found]


def held(db: Ledger) -> dict[str, int]:
    """Return what holds reserve in each lot, where they do."""
    return {row["key"]: row["held"] for row in ask_all(db, "lots", account_id="a") if row["held"]}


# What a hold reserves


@pytest.mark.parametrize(
    ("amount", "expected", "head_after"),
    [
        (4, [("A", 4)], ("A", 6)),
        (10, [("A", 10)], ("A", 0)),
        (13, [("A", 10), ("B", 3)], ("B", 7)),
        (20, [("A", 10), ("B", 10)], (None, 10)),
        (26, [("A", 10), ("B", 10), (None, 6)], (None, 4)),
        (30, [("A", 10), ("B", 10), (None, 10)], ("late", 10)),
        (33, [("A", 10), ("B", 10), (None, 10), ("late", 3)], ("late", 7)),
    ],
)
def test_a_hold_reserves_in_draw_order(
    three: Ledger,
    amount: int,
    expected: list[tuple[str | None, int]],
    head_after: tuple[str | None, int],
) -> None:
    row = ask(three, "hold", account_id="a", amount=amount, key="h")
    assert (row["status"], row["balance"], row["available"]) == ("PENDING", 40, 40 - amount)
    assert reserved(three) == expected
    assert held(three) == {name: n for name, n in expected if name}
    assert head(three) == head_after
    assert pool(three) == 10
    assert unreckoned(three) == []
    given = {"account_id": "a", "amount": amount, "key": "h"}
    assert replayed(three, "hold", **given)["available"] == 40 - amount
    refused(three, "LG001", "spend", account_id="a", amount=41 - amount)
    # Spends go on where the hold ended.
    ask(three, "spend", account_id="a", amount=1, key="s")
    assert paid(three, "s") == [("B" if amount == 10 else head_after[0], 1)]
    assert unreckoned(three) == []


def test_a_second_hold_reserves_what_the_first_left(three: Ledger) -> None:
    for key, amount in (("one", 7), ("two", 7), ("three", 15)):
        ask(three, "hold", account_id="a", amount=amount, key=key)
    assert reserved(three, "one") == [("A", 7)]
    assert reserved(three, "two") == [("A", 3), ("B", 4)]
    assert reserved(three, "three") == [("B", 6), (None, 9)]
    assert held(three) == {"A": 10, "B": 10}
    assert unreckoned(three) == []
    ask(three, "release", account_id="a", key="two")
    ask(three, "hold", account_id="a", amount=8, key="four")
    assert reserved(three, "four") == [("A", 3), ("B", 4), (None, 1)]
    assert unreckoned(three) == []


def test_an_announced_debit_reserves_as_a_hold_does(three: Ledger) -> None:
    given = {"account_id": "a", "amount": -13, "type": "CARD_CHECK", "key": "h"}
    ask(three, "add_transaction", **given, is_active=False, external_id="x")
    assert reserved(three) == [("A", 10), ("B", 3)]
    ask(three, "enable_transaction", account_id="a", key="h")
    assert paid(three, "h") == [("A", 10), ("B", 3)]
    assert unreckoned(three) == []


def test_a_hold_that_is_refused_reserves_nothing(three: Ledger) -> None:
    refused(three, "LG001", "hold", account_id="a", amount=41)
    refused_as_row(three, "LG001", "hold", account_id="a", amount=41)
    ask(three, "spend", account_id="a", amount=13, key="taken")
    refused(three, "LG002", "hold", account_id="a", amount=20, key="taken")
    row = ask(three, "hold", account_id="a", amount=2, key="taken", raise_refusals=False)
    assert row["refusal"] == "LG002"
    assert (left(three), held(three)) == ({"B": 7, "late": 10}, {})
    assert unreckoned(three) == []


# Capture


@pytest.mark.parametrize("way", [{}, {"metadata": {"n": 1}}])
@pytest.mark.parametrize(
    ("amount", "draws", "rest"),
    [
        (None, [("A", 10), ("B", 10), (None, 6)], {"late": 10}),
        (26, [("A", 10), ("B", 10), (None, 6)], {"late": 10}),
        (22, [("A", 10), ("B", 10), (None, 2)], {"late": 10}),
        (20, [("A", 10), ("B", 10)], {"late": 10}),
        (14, [("A", 10), ("B", 4)], {"B": 6, "late": 10}),
        (10, [("A", 10)], {"B": 10, "late": 10}),
        (3, [("A", 3)], {"A": 7, "B": 10, "late": 10}),
    ],
)
def test_a_capture_takes_from_its_reservations_in_order_and_gives_back_the_rest(
    three: Ledger,
    amount: int | None,
    draws: list[tuple[str | None, int]],
    rest: dict[str, int],
    way: dict[str, Any],
) -> None:
    ask(three, "hold", account_id="a", amount=26, key="h")
    given = {"account_id": "a", "key": "h", "amount": amount, **way}
    row = ask(three, "capture", **given)
    spent = 26 if amount is None else amount
    assert (row["amount"], row["balance"], row["available"]) == (-spent, 40 - spent, 40 - spent)
    assert (paid(three, "h"), left(three), held(three)) == (draws, rest, {})
    assert three.execute("select from pgledger.reservations").fetchall() == []
    assert unreckoned(three) == []
    assert replayed(three, "capture", **given)["amount"] == -spent
    ask(three, "spend", account_id="a", amount=40 - spent)
    assert value(three, "get_credits", account_id="a") == 0
    assert unreckoned(three) == []


@pytest.mark.parametrize("way", [{}, {"metadata": {"n": 1}}])
@pytest.mark.parametrize(("amount", "rest"), [(None, 6), (8, 6), (5, 9), (1, 13)])
def test_a_capture_from_one_lot_gives_back_to_it(
    db: Ledger, amount: int | None, rest: int, way: dict[str, Any]
) -> None:
    give(db, "A", 14, day(1))
    give(db, "pool", 5)
    ask(db, "hold", account_id="a", amount=8, key="h")
    ask(db, "capture", account_id="a", key="h", amount=amount, **way)
    assert (paid(db, "h"), left(db), pool(db)) == ([("A", 14 - rest)], {"A": rest}, 5)
    assert head(db) == ("A", rest)
    assert unreckoned(db) == []


def test_a_capture_takes_what_it_reserved_whatever_comes_first_now(three: Ledger) -> None:
    ask(three, "hold", account_id="a", amount=4, key="h")
    give(three, "first", 10, priority=-1)
    ask(three, "capture", account_id="a", key="h", amount=3)
    assert paid(three, "h") == [("A", 3)]
    assert head(three) == ("first", 10)
    assert left(three)["A"] == 7
    assert unreckoned(three) == []


@pytest.mark.parametrize("amount", [None, 5])
def test_a_capture_from_the_pool_leaves_lots_alone(db: Ledger, amount: int | None) -> None:
    give(db, "pool", 10)
    ask(db, "hold", account_id="a", amount=10, key="h")
    give(db, "A", 10, day(1))
    assert (reserved(db), head(db)) == ([(None, 10)], ("A", 10))
    ask(db, "capture", account_id="a", key="h", amount=amount)
    assert (left(db), pool(db)) == ({"A": 10}, 10 - (amount or 10))
    assert unreckoned(db) == []


def test_a_hold_made_before_there_were_lots_is_of_the_pool(db: Ledger) -> None:
    give(db, "pool", 10)
    for key in ("h", "i"):
        ask(db, "hold", account_id="a", amount=3, key=key)
    give(db, "late", 10, priority=1)
    assert head(db) == (None, 4)
    ask(db, "release", account_id="a", key="h")
    assert head(db) == (None, 7)
    ask(db, "capture", account_id="a", key="i", amount=1)
    assert head(db) == (None, 9)
    assert unreckoned(db) == []


# Release


@pytest.mark.parametrize("amount", [4, 10, 13, 26, 33])
@pytest.mark.parametrize("verb", ["release", "cancel_transaction"])
def test_a_release_gives_back_to_where_it_came_from(three: Ledger, amount: int, verb: str) -> None:
    ask(three, "hold", account_id="a", amount=amount, key="h")
    row = ask(three, verb, account_id="a", key="h")
    assert (row["balance"], row["available"]) == (40, 40)
    assert (left(three), held(three)) == ({"A": 10, "B": 10, "late": 10}, {})
    assert (head(three), pool(three)) == (("A", 10), 10)
    assert three.execute("select from pgledger.reservations").fetchall() == []
    assert unreckoned(three) == []
    replayed(three, verb, account_id="a", key="h")
    ask(three, "spend", account_id="a", amount=40, key="s")
    assert paid(three, "s") == [("A", 10), ("B", 10), (None, 10), ("late", 10)]
    assert unreckoned(three) == []


def test_a_release_makes_an_earlier_lot_the_head_again(three: Ledger) -> None:
    ask(three, "hold", account_id="a", amount=10, key="h")
    ask(three, "spend", account_id="a", amount=12, key="s")
    assert (paid(three, "s"), head(three)) == ([("B", 10), (None, 2)], (None, 8))
    ask(three, "release", account_id="a", key="h")
    assert head(three) == ("A", 10)
    assert unreckoned(three) == []


# Time passes


def test_what_is_reserved_does_not_expire_under_the_hold(three: Ledger) -> None:
    ask(three, "hold", account_id="a", amount=4, key="h")
    let_pass(three, "1 day")
    for _ in range(2):
        row = ask(three, "get_balance", account_id="a")
        assert (row["balance"], row["held"], row["available"]) == (34, 4, 30)
        assert held(three) == {"A": 4}
        ask(three, "run_due")
    assert expiries(three) == [("A", 6, day(0))]
    assert unreckoned(three) == []


@pytest.mark.parametrize("way", [{}, {"metadata": {"n": 1}}])
@pytest.mark.parametrize("amount", [None, 12, 10, 3])
@pytest.mark.parametrize("posted_before", [False, True])
def test_a_capture_after_the_lot_ended_takes_from_its_reservation(
    three: Ledger, amount: int | None, way: dict[str, Any], *, posted_before: bool
) -> None:
    ask(three, "hold", account_id="a", amount=13, key="h")
    let_pass(three, "1 day")
    if posted_before:
        ask(three, "run_due")
    row = ask(three, "capture", account_id="a", key="h", amount=amount, **way)
    spent = amount or 13
    draws = {"A": min(spent, 10)} | ({"B": spent - 10} if spent > 10 else {})
    assert dict(paid(three, "h")) == draws
    # What goes back to A is gone at the moment it is there.
    gone = 10 - min(spent, 10)
    assert expiries(three) == ([("A", gone, row["created_at"])] if gone else [])
    assert (row["balance"], row["available"]) == (40 - spent - gone, 40 - spent - gone)
    assert left(three) == {"B": 7 + (13 - spent - gone), "late": 10}
    assert unreckoned(three) == []


@pytest.mark.parametrize("posted_before", [False, True])
def test_what_is_released_after_the_lot_ended_expires_at_once(
    three: Ledger, *, posted_before: bool
) -> None:
    ask(three, "hold", account_id="a", amount=13, key="h")
    let_pass(three, "1 day")
    if posted_before:
        ask(three, "run_due")
    row = ask(three, "release", account_id="a", key="h")
    assert (row["status"], row["balance"], row["available"]) == ("CANCELLED", 30, 30)
    (settled,) = three.execute("select settled_at from pgledger.pending_transactions").fetchall()
    assert expiries(three) == [("A", 10, settled["settled_at"])]
    assert (left(three), head(three)) == ({"B": 10, "late": 10}, ("B", 10))
    assert unreckoned(three) == []


def test_a_hold_that_outlives_its_lot_and_expires_gives_back_what_expires_then(
    three: Ledger,
) -> None:
    ask(three, "hold", account_id="a", amount=13, key="h", expires_at=day(1.5))
    let_pass(three, "1 day")
    ask(three, "spend", account_id="a", amount=1)
    let_pass(three, "0.5 days 1 second")
    ended = day(0) - timedelta(seconds=1)
    assert value(three, "get_credits", account_id="a") == 29
    assert left(three) == {"B": 9, "late": 10}
    ask(three, "run_due")
    assert expiries(three) == [("A", 10, ended)]
    assert value(three, "balance_at", account_id="a", at=ended) == 29
    assert value(three, "balance_at", account_id="a", at=ended - timedelta(microseconds=1)) == 39
    assert [kind for kind, _ in events(three)] == ["hold_expired"]
    assert unreckoned(three) == []


def test_a_hold_and_its_lot_that_expire_together(three: Ledger) -> None:
    ask(three, "hold", account_id="a", amount=4, key="h", expires_at=day(1))
    ask(three, "hold", account_id="a", amount=8, key="i", expires_at=day(2))
    let_pass(three, "1 day")
    # The hold comes first: what it gives back expires with the rest.
    assert value(three, "get_credits", account_id="a") == 40 - 10 - 2
    assert held(three) == {"A": 6, "B": 2}
    assert value(three, "run_due") == 1
    assert {(key, at) for key, _, at in expiries(three)} == {("A", day(0))}
    assert sum(amount for _, amount, _ in expiries(three)) == 4
    assert pending(three) == {"h": "EXPIRED", "i": "PENDING"}
    assert unreckoned(three) == []


def test_holds_and_lots_expire_in_the_order_of_their_instants(three: Ledger) -> None:
    ask(three, "hold", account_id="a", amount=6, key="h", expires_at=day(0.5))
    ask(three, "hold", account_id="a", amount=6, key="i", expires_at=day(1.5))
    ask(three, "hold", account_id="a", amount=6, key="j", expires_at=day(2.5))
    # h: A 6; i: A 4 and B 2; j: B 6.
    let_pass(three, "3 days")
    assert value(three, "get_credits", account_id="a") == 20
    row = ask(three, "spend", account_id="a", amount=11, key="s")
    assert (row["balance"], paid(three, "s")) == (9, [(None, 10), ("late", 1)])
    assert expiries(three) == [
        ("A", 6, day(-2)),
        ("A", 4, day(-1.5)),
        ("B", 4, day(-1)),
        ("B", 6, day(-0.5)),
    ]
    assert unreckoned(three) == []


def test_a_hold_that_expires_before_its_lot_gives_back_in_time(three: Ledger) -> None:
    ask(three, "hold", account_id="a", amount=13, key="h", expires_at=day(0.5))
    let_pass(three, "0.5 days")
    assert (left(three), held(three)) == ({"A": 10, "B": 10, "late": 10}, {})
    ask(three, "spend", account_id="a", amount=11, key="s")
    assert paid(three, "s") == [("A", 10), ("B", 1)]
    assert expiries(three) == []
    refused(three, "LG007", "capture", account_id="a", key="h")
    assert unreckoned(three) == []


def test_many_holds_that_outlive_their_lot_and_expire(db: Ledger) -> None:
    give(db, "A", 150, day(1))
    give(db, "pool", 10)
    db.execute(
        "select count(pgledger.hold('a', 1, expires_at => %s + n * interval '1 minute'))"
        " from generate_series(1, 150) n",
        [day(2)],
    )
    let_pass(db, "3 days")
    assert value(db, "get_credits", account_id="a") == 10
    assert ask(db, "spend", account_id="a", amount=1)["available"] == 9
    assert unreckoned(db) == []
    while value(db, "run_due"):
        assert value(db, "get_credits", account_id="a") == 9
        assert unreckoned(db) == []
    assert ask(db, "spend", account_id="a", amount=9)["balance"] == 0
    assert unreckoned(db) == []


def test_a_lost_balance_row_comes_back_where_holds_outlive_lots(three: Ledger) -> None:
    ask(three, "hold", account_id="a", amount=13, key="h")
    let_pass(three, "1 day")
    three.execute("delete from pgledger.balances")
    row = ask(three, "get_balance", account_id="a")
    assert (row["balance"], row["held"], row["available"]) == (40, 13, 27)
    ask(three, "spend", account_id="a", amount=1)
    three.execute("delete from pgledger.balances")
    ask(three, "capture", account_id="a", key="h", amount=11)
    assert paid(three, "h") == [("A", 10), ("B", 1)]
    assert (left(three), journal(three)[-1]) == ({"B": 8, "late": 10}, ("USAGE", -11))
    assert unreckoned(three) == []


def test_holds_over_lots_are_watched_by_the_level_they_leave(three: Ledger) -> None:
    ask(three, "set_auto_top_up", account_id="a", threshold=15, amount=50)
    ask(three, "hold", account_id="a", amount=25)
    assert pending(three).get("#auto-1") is None
    ask(three, "hold", account_id="a", amount=11)
    assert pending(three)["#auto-1"] == "PENDING"
    assert unreckoned(three) == []


def test_a_hold_that_is_moved_to_have_expired_gives_back(three: Ledger) -> None:
    ask(three, "hold", account_id="a", amount=35, key="h", expires_at=day(0.5))
    let_expire(three, "h")
    assert left(three) == {"A": 10, "B": 10, "late": 10}
    ask(three, "spend", account_id="a", amount=35, key="s")
    assert paid(three, "s") == [("A", 10), ("B", 10), (None, 10), ("late", 5)]
    assert unreckoned(three) == []


@pytest.mark.parametrize("way", ["release", "capture", "reversal"])
def test_a_lot_that_gets_something_back_is_seen_to_expire(db: Ledger, way: str) -> None:
    give(db, "A", 10, day(3))
    give(db, "pool", 10)
    ask(db, "spend" if way == "reversal" else "hold", account_id="a", amount=10, key="k")
    # What is due is looked for anew, and there is nothing in A that could expire.
    ask(db, "hold", account_id="a", amount=1, key="due", expires_at=day(1))
    let_pass(db, "1 day")
    ask(db, "run_due")
    if way == "reversal":
        ask(db, "reverse_transaction", account_id="a", original_key="k", amount=4)
    else:
        ask(db, way, account_id="a", key="k", **({"amount": 6} if way == "capture" else {}))
    left_in_a = 10 if way == "release" else 4
    assert left(db) == {"A": left_in_a}
    assert unreckoned(db) == []
    let_pass(db, "2 days")
    assert value(db, "get_credits", account_id="a") == 10
    assert ask(db, "spend", account_id="a", amount=1, key="s")["balance"] == 9
    assert expiries(db) == [("A", left_in_a, day(0))]
    assert paid(db, "s") == [(None, 1)]
    assert unreckoned(db) == []


def test_hundreds_of_expired_holds_of_the_pool_beside_lots(db: Ledger) -> None:
    give(db, "pool", 260)
    db.execute(
        "select count(pgledger.hold('a', 1, expires_at => %s)) from generate_series(1, 250)",
        [day(1)],
    )
    give(db, "A", 10, day(3))
    give(db, "late", 10, priority=1)
    ask(db, "hold", account_id="a", amount=14, key="h", expires_at=day(2))
    let_pass(db, "2 days")
    assert value(db, "get_credits", account_id="a") == 280
    for n, amount in enumerate((15, 100, 100, 50, 15)):
        ask(db, "spend", account_id="a", amount=amount, key=f"s{n}")
        assert unreckoned(db) == []
    assert paid(db, "s0") == [("A", 10), (None, 5)]
    assert [paid(db, f"s{n}") for n in (1, 2)] == [[(None, 100)]] * 2
    assert paid(db, "s3") == [(None, 50)]
    assert paid(db, "s4") == [(None, 5), ("late", 10)]
    while value(db, "run_due"):
        pass
    assert unreckoned(db) == []


def test_an_allowance_is_not_taken_by_holds_that_expired_before_it(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-300)
    db.execute(
        "select count(pgledger.hold('a', 1, expires_at => %s)) from generate_series(1, 250)",
        [day(0.5)],
    )
    given = {"amount": 100, "period": "1 day", "policy": "RESET", "anchor": "ACCOUNT"}
    ask(db, "create_plan", code="daily", **given)
    ask(db, "assign_plan", account_id="a", plan="daily", starts_at=day(1))
    let_pass(db, "1 day 1 hour")
    assert ask(db, "get_balance", account_id="a")["next_expiry_amount"] == 100
    ask(db, "spend", account_id="a", amount=1)
    assert ask(db, "get_balance", account_id="a")["next_expiry_amount"] == 99
    assert (pool(db), list(left(db).values())) == (0, [99])
    assert unreckoned(db) == []
