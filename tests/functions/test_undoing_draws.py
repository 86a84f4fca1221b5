"""What is undone goes back to where it came from, or is taken from where it went."""

from datetime import timedelta
from typing import Any

import pytest

from tests.functions.test_draws import total
from tests.support import (
    Ledger,
    ask,
    ask_all,
    day,
    everything,
    expiries,
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
)


@pytest.fixture
def spent(db: Ledger) -> Ledger:
    """Spend 25 of A (10, until tomorrow), B (10, for two days) and the pool (10)."""
    give(db, "A", 10, day(1))
    give(db, "B", 10, day(2))
    give(db, "pool", 10)
    ask(db, "spend", account_id="a", amount=25, key="s")
    return db


STORED = "select to_jsonb(b) - array['updated_at', 'attention_at'] as row from pgledger.balances b"


def back(db: Ledger, amount: int | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Reverse the spend, or part of it."""
    given = {"account_id": "a", "original_key": "s", "amount": amount}
    return ask(db, "reverse_transaction", **(given | more))


def returned(db: Ledger, key: str) -> dict[str | None, int]:
    """Return how much of a reversal went back to each source."""
    return {source: -amount for source, amount in total(paid(db, key)).items()}


# Back to the lots


def test_a_reversal_gives_back_to_each_source_what_it_paid(spent: Ledger) -> None:
    row = back(spent, key="r")
    assert (row["amount"], row["balance"], row["available"]) == (25, 30, 30)
    assert returned(spent, "r") == {"A": 10, "B": 10, None: 5}
    assert (left(spent), pool(spent), head(spent)) == ({"A": 10, "B": 10}, 10, ("A", 10))
    assert unreckoned(spent) == []
    replayed(spent, "reverse_transaction", account_id="a", original_key="s", key="r")
    assert refused(spent, "LG009", "reverse_transaction", account_id="a", original_key="s")


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (3, {None: 3}),
        (5, {None: 5}),
        (6, {None: 5, "B": 1}),
        (15, {None: 5, "B": 10}),
        (24, {None: 5, "B": 10, "A": 9}),
    ],
)
def test_a_part_goes_back_to_what_was_drawn_last(
    spent: Ledger, amount: int, expected: dict[str | None, int]
) -> None:
    back(spent, amount, key="r")
    assert returned(spent, "r") == expected
    assert unreckoned(spent) == []


@pytest.mark.parametrize(
    "parts", [(1, 24), (5, 10, 10), (6, 6, 6, 7), (15, 10), (24, 1), (1,) * 25]
)
def test_parts_skip_what_earlier_parts_gave_back(spent: Ledger, parts: tuple[int, ...]) -> None:
    sources: list[str | None] = [None] * 5 + ["B"] * 10 + ["A"] * 10
    for n, part in enumerate(parts):
        back(spent, part, key=f"r{n}")
        expected: dict[str | None, int] = {}
        for source in sources[:part]:
            expected[source] = expected.get(source, 0) + 1
        del sources[:part]
        assert returned(spent, f"r{n}") == expected
        assert unreckoned(spent) == []
        # What is spent between them does not matter.
        if n % 2:
            ask(spent, "spend", account_id="a", amount=part)
    refused(spent, "LG009", "reverse_transaction", account_id="a", original_key="s", amount=1)


def test_a_reversal_to_one_lot_is_told_in_the_column(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    ask(db, "spend", account_id="a", amount=8, key="s")
    ask(db, "reverse_transaction", account_id="a", original_key="s", key="r", amount=3)
    (row,) = db.execute("select lot from pgledger.transactions where key = 'r'").fetchall()
    assert (row["lot"], paid(db, "r")) == (1, [("A", -3)])
    assert db.execute("select from pgledger.draws").fetchall() == []
    assert (left(db), head(db)) == ({"A": 5}, ("A", 5))
    assert unreckoned(db) == []


def test_a_lot_that_was_used_up_opens_again(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    give(db, "pool", 10)
    ask(db, "spend", account_id="a", amount=10, key="s")
    ask(db, "spend", account_id="a", amount=4, key="t")
    back(db, 2)
    assert (left(db), head(db), pool(db)) == ({"A": 2}, ("A", 2), 6)
    ask(db, "spend", account_id="a", amount=3, key="u")
    assert paid(db, "u") == [("A", 2), (None, 1)]
    assert unreckoned(db) == []


def test_a_captured_hold_goes_back_to_what_it_drew(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    give(db, "pool", 10)
    ask(db, "hold", account_id="a", amount=15, key="h")
    ask(db, "capture", account_id="a", key="h", amount=12)
    ask(db, "reverse_transaction", account_id="a", original_key="h", amount=7, key="r")
    assert returned(db, "r") == {None: 2, "A": 5}
    assert unreckoned(db) == []


def test_a_debt_is_given_back_to_the_pool(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-20)
    give(db, "A", 10, day(1))
    give(db, "late", 10, priority=1)
    ask(db, "spend", account_id="a", amount=35, key="s")
    assert (pool(db), total(paid(db, "s"))) == (-15, {"A": 10, "late": 10, None: 15})
    back(db, 15, key="r")
    assert (returned(db, "r"), pool(db)) == ({None: 15}, 0)
    back(db, 15)
    assert left(db) == {"A": 5, "late": 10}
    assert unreckoned(db) == []


def test_what_was_spent_before_there_were_lots_goes_back_to_the_pool(db: Ledger) -> None:
    give(db, "pool", 10)
    ask(db, "spend", account_id="a", amount=10, key="s")
    give(db, "A", 10, day(1))
    back(db, 4, key="r")
    assert (returned(db, "r"), pool(db), left(db)) == ({None: 4}, 4, {"A": 10})
    assert unreckoned(db) == []


# To lots that have expired meanwhile


@pytest.mark.parametrize("posted_before", [False, True])
def test_what_goes_back_to_an_expired_lot_expires_at_once(
    spent: Ledger, *, posted_before: bool
) -> None:
    back(spent, 16)
    let_pass(spent, "1 day")
    if posted_before:
        ask(spent, "run_due")
    row = back(spent, key="r")
    assert (row["amount"], row["running_balance"]) == (9, 29)
    assert (row["balance"], row["available"]) == (20, 20)
    # One at its own instant, what had come back in time; one now.
    assert expiries(spent) == [("A", 1, day(0)), ("A", 9, row["created_at"])]
    assert unreckoned(spent) == []


def test_the_reversal_comes_before_the_expiry(spent: Ledger) -> None:
    let_pass(spent, "1 day")
    row = back(spent, key="r")
    assert journal(spent)[4:] == [("REVERSAL", 25), ("EXPIRY", -10)]
    assert returned(spent, "r") == {"A": 10, "B": 10, None: 5}
    assert (row["running_balance"], row["balance"]) == (30, 20)
    assert expiries(spent) == [("A", 10, row["created_at"])]
    assert (left(spent), head(spent), pool(spent)) == ({"B": 10}, ("B", 10), 10)
    again = back(spent, 25, key="r")
    assert (again["replayed"], again["running_balance"], again["balance"]) == (True, 30, 20)
    assert len(journal(spent)) == 6
    assert unreckoned(spent) == []


def test_several_lots_that_have_expired_expire_each_for_itself(spent: Ledger) -> None:
    let_pass(spent, "2 days")
    row = back(spent, 22)
    now = row["created_at"]
    assert sorted(expiries(spent)) == [("A", 7, now), ("B", 10, now)]
    assert (row["balance"], left(spent), pool(spent)) == (10, {}, 10)
    back(spent, 3)
    assert [amount for _, amount, _ in expiries(spent)][-1] == 3
    assert unreckoned(spent) == []


def test_a_part_that_reaches_no_expired_lot_expires_nothing(spent: Ledger) -> None:
    let_pass(spent, "1 day")
    assert back(spent, 15)["balance"] == 20
    assert expiries(spent) == []
    assert unreckoned(spent) == []


# With more time


def test_an_extension_keeps_what_goes_back_to_an_expired_lot(spent: Ledger) -> None:
    let_pass(spent, "1 day 1 hour")
    row = back(spent, key="r", extend=timedelta(days=3))
    assert (row["balance"], row["available"], expiries(spent)) == (30, 30, [])
    rows = {each["key"]: each for each in ask_all(spent, "lots", account_id="a")}
    assert rows["A"]["expires_at"] == row["created_at"] + timedelta(days=3)
    assert rows["B"]["expires_at"] == day(1) - timedelta(hours=1)
    assert (list(left(spent)), head(spent)) == (["B", "A"], ("B", 10))
    assert unreckoned(spent) == []
    given = {"account_id": "a", "amount": 10, "key": "A"}
    replayed(spent, "grant_credits", **given, expires_at=day(0) - timedelta(hours=1))
    let_pass(spent, "3 days")
    assert value(spent, "get_credits", account_id="a") == 10
    ask(spent, "run_due")
    assert [(key, amount) for key, amount, _ in expiries(spent)] == [("B", 10), ("A", 10)]
    assert unreckoned(spent) == []


@pytest.mark.parametrize("ticks", [-1, 0, 1])
def test_a_lot_is_extended_from_its_very_end_on(spent: Ledger, ticks: int) -> None:
    # A journal that reaches into the future keeps its order, so this is when the next write is.
    at = day(1) - timedelta(microseconds=ticks)
    spent.execute("update pgledger.balances set updated_at = %s, attention_at = '2000-01-01'", [at])
    assert back(spent, extend="1 hour")["created_at"] == at
    rows = {each["key"]: each["expires_at"] for each in ask_all(spent, "lots", account_id="a")}
    assert rows == {"A": day(1) if ticks > 0 else at + timedelta(hours=1), "B": day(2)}
    assert unreckoned(spent) == []


@pytest.mark.parametrize("ticks", [-1, 0, 1])
def test_what_goes_back_expires_from_the_very_end_of_its_lot_on(spent: Ledger, ticks: int) -> None:
    at = day(1) - timedelta(microseconds=ticks)
    spent.execute("update pgledger.balances set updated_at = %s, attention_at = '2000-01-01'", [at])
    assert back(spent)["created_at"] == at
    assert expiries(spent) == ([] if ticks > 0 else [("A", 10, at)])
    assert unreckoned(spent) == []


def test_an_extension_does_not_bring_back_what_expired_before(spent: Ledger) -> None:
    back(spent, 16)
    let_pass(spent, "1 day")
    row = back(spent, 4, extend="1 hour")
    assert expiries(spent) == [("A", 1, day(0))]
    assert (row["balance"], left(spent)) == (24, {"A": 4, "B": 10})
    assert unreckoned(spent) == []


def test_an_extension_leaves_a_lot_alone_that_has_not_expired(spent: Ledger) -> None:
    back(spent, extend="30 days")
    rows = {each["key"]: each["expires_at"] for each in ask_all(spent, "lots", account_id="a")}
    assert rows == {"A": day(1), "B": day(2)}
    assert unreckoned(spent) == []


@pytest.mark.parametrize("extend", ["0 s", "-1 day"])
def test_an_extension_is_a_positive_time(spent: Ledger, extend: str) -> None:
    given = {"account_id": "a", "original_key": "s", "extend": extend}
    assert refused(spent, "22023", "reverse_transaction", **given)["parameter"] == "extend"
    let_pass(spent, "1 day")
    refused(spent, "22023", "reverse_transaction", **given, raise_refusals=False)


# Credits taken back


@pytest.mark.parametrize(
    ("original", "verb"),
    [("A", "reverse_transaction"), ("own", "refund"), ("free", "reverse_transaction")],
)
@pytest.mark.parametrize("amount", [3, 40])
def test_a_credit_is_taken_from_where_it_went_whatever_comes_first(
    db: Ledger, original: str, verb: str, amount: int
) -> None:
    give(db, "first", 50, priority=-1)
    give(db, "A", 40, day(3))
    ask(db, "top_up", account_id="a", amount=40, key="own", priority=3)
    give(db, "free", 40)
    ask(db, verb, account_id="a", original_key=original, amount=amount, key="r")
    assert paid(db, "r") == [(None if original == "free" else original, amount)]
    assert (head(db), left(db)["first"]) == (("first", 50), 50)
    assert unreckoned(db) == []


@pytest.mark.parametrize("verb", ["refund", "reverse_transaction"])
@pytest.mark.parametrize("own_is_a_lot", [False, True])
def test_what_a_credit_has_not_left_is_taken_from_the_others(
    db: Ledger, verb: str, *, own_is_a_lot: bool
) -> None:
    terms: dict[str, Any] = {"expires_at": day(5)} if own_is_a_lot else {}
    given = {"account_id": "a", "amount": 20, "key": "own", **terms}
    ask(db, "top_up" if verb == "refund" else "grant_credits", **given)
    give(db, "soon", 3, day(1))
    give(db, "late", 4, priority=2)
    give(db, "first", 2, priority=-1)
    give(db, "pool", 6) if own_is_a_lot else give(db, "other", 6, day(9))
    # 15 of own are spent, and what comes before it.
    ask(db, "spend", account_id="a", amount=20 if own_is_a_lot else 26)
    give(db, "soon2", 3, day(1))
    given = {"account_id": "a", "original_key": "own", "key": "r"}
    if own_is_a_lot:
        ask(db, verb, **given, amount=16)
        assert paid(db, "r") == [("own", 5), ("soon2", 3), (None, 6), ("late", 2)]
    else:
        ask(db, verb, **given, amount=12)
        assert paid(db, "r") == [(None, 5), ("soon2", 3), ("late", 4)]
    assert unreckoned(db) == []


def test_a_refund_takes_what_is_there_or_is_refused(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10, key="own", expires_at=day(1))
    give(db, "B", 3, day(2))
    ask(db, "spend", account_id="a", amount=6)
    given = {"account_id": "a", "original_key": "own"}
    assert refused(db, "LG001", "refund", **given)["available"] == 7
    refused_as_row(db, "LG001", "refund", **given)
    ask(db, "refund", **given, amount=5, key="part")
    assert paid(db, "part") == [("own", 4), ("B", 1)]
    ask(db, "refund", **given, fail_insufficient_credits=False, key="all")
    assert total(paid(db, "all")) == {"B": 2, None: 3}
    assert (pool(db), value(db, "get_credits", account_id="a")) == (-3, -3)
    assert unreckoned(db) == []


def test_a_top_up_that_expired_is_still_refunded_from_the_rest(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10, key="own", expires_at=day(1))
    give(db, "B", 8, day(2))
    let_pass(db, "1 day")
    given = {"account_id": "a", "original_key": "own"}
    assert refused(db, "LG001", "refund", **given)["available"] == 8
    ask(db, "refund", **given, amount=8, key="r")
    assert paid(db, "r") == [("B", 8)]
    assert unreckoned(db) == []


def test_the_reversal_of_a_credit_counts_what_expired_of_it_as_undone(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    give(db, "pool", 10)
    ask(db, "spend", account_id="a", amount=4)
    let_pass(db, "1 day")
    given = {"account_id": "a", "original_key": "A"}
    details = refused(db, "LG009", "reverse_transaction", **given, amount=5)
    assert (details["remaining"], details["requested"]) == (4, 5)
    row = refused(db, "LG009", "reverse_transaction", **given, amount=10)
    assert row["remaining"] == 4
    assert ask(db, "reverse_transaction", **given, key="r")["amount"] == -4
    assert paid(db, "r") == [(None, 4)]
    assert refused(db, "LG009", "reverse_transaction", **given)["remaining"] == 0
    assert unreckoned(db) == []


def test_what_goes_back_and_expires_counts_for_the_reversal_of_its_grant(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    give(db, "pool", 10)
    ask(db, "spend", account_id="a", amount=10, key="s")
    let_pass(db, "1 day")
    back(db, 7)
    given = {"account_id": "a", "original_key": "A"}
    assert refused(db, "LG009", "reverse_transaction", **given, amount=4)["remaining"] == 3
    assert ask(db, "reverse_transaction", **given)["amount"] == -3
    assert unreckoned(db) == []


def test_the_reversal_of_a_grant_that_paid_a_debt(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-30)
    ask(db, "spend", account_id="a", amount=20)
    give(db, "A", 30, day(1))
    give(db, "B", 4, day(2))
    assert (
        ask(db, "reverse_transaction", account_id="a", original_key="A", key="r")["amount"] == -30
    )
    assert total(paid(db, "r")) == {"A": 10, "B": 4, None: 16}
    assert (pool(db), left(db)) == (-16, {})
    assert unreckoned(db) == []


def test_the_reversal_of_a_credit_that_expires_just_now_finds_nothing(db: Ledger) -> None:
    give(db, "A", 10, day(1))
    let_pass(db, "1 day")
    before = everything(db)
    assert refused(db, "LG009", "reverse_transaction", account_id="a", original_key="A")
    assert everything(db) == before
    row = ask(
        db, "reverse_transaction", account_id="a", original_key="A", raise_refusals=False, amount=1
    )
    assert (row["refusal"], row["balance"], expiries(db)) == ("LG009", 0, [("A", 10, day(0))])
    assert unreckoned(db) == []


def test_a_lost_balance_row_comes_back_after_what_was_undone(spent: Ledger) -> None:
    back(spent, 9)
    ask(spent, "reverse_transaction", account_id="a", original_key="A", amount=3)
    ask(spent, "hold", account_id="a", amount=5)
    (before,) = spent.execute(STORED).fetchall()
    spent.execute("delete from pgledger.balances")
    refused(spent, "LG001", "spend", account_id="a", amount=100)
    ask(spent, "spend", account_id="a", amount=100, raise_refusals=False)
    (after,) = spent.execute(STORED).fetchall()
    assert after == before
    assert unreckoned(spent) == []


def test_more_than_a_grant_may_be_undone_of_it_where_its_credits_came_back_and_expired(
    db: Ledger,
) -> None:
    give(db, "A", 10, day(1))
    give(db, "pool", 10)
    ask(db, "spend", account_id="a", amount=10, key="s")
    ask(db, "reverse_transaction", account_id="a", original_key="A", amount=5)
    back(db)
    let_pass(db, "1 day")
    details = refused(db, "LG009", "reverse_transaction", account_id="a", original_key="A")
    assert details["remaining"] == 0
    ask(db, "run_due")
    assert journal(db)[-3:] == [("REVERSAL", -5), ("REVERSAL", 10), ("EXPIRY", -10)]
    assert (left(db), pool(db)) == ({}, 5)
    assert unreckoned(db) == []
