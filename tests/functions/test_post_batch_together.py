"""post_batch where all items of an account go one way, so that they can be posted together.

Whatever forbids it for one of them is here, beside items that nothing forbids.
"""

import pytest

from tests.batches import Item, credit, post_batch, spend, words
from tests.plans import zone
from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    day,
    events,
    give,
    in_order,
    let_pass,
    paid,
    pending,
    posted,
    unreckoned,
)


@pytest.fixture
def rich(db: Ledger) -> Ledger:
    """Two accounts with 100 credits each."""
    for account_id in ("a", "b"):
        ask(db, "top_up", account_id=account_id, amount=100)
    return db


def spends(*amounts: int, **more: object) -> list[Item]:
    return [spend(amount) | more for amount in amounts]


def credits_of(*amounts: int, **more: object) -> list[Item]:
    return [credit(amount) | more for amount in amounts]


@pytest.mark.parametrize("end", [None, "release", "capture"])
def test_a_key_of_a_hold(rich: Ledger, end: str | None) -> None:
    ask(rich, "hold", account_id="a", amount=5, key="h")
    if end is not None:
        ask(rich, end, account_id="a", key="h")
    rows = post_batch(rich, spend(1), spend(5, key="h"), spend(2), spend(3, "b", key="h"))
    assert words(rows) == ["ok", "LG002", "ok", "ok"]
    assert in_order(rich)


def test_a_key_of_an_announcement_that_waits(rich: Ledger) -> None:
    ask(rich, "top_up", account_id="a", amount=5, key="p", is_active=False)
    rows = post_batch(rich, credit(1), credit(5, type="TOP_UP", key="p"), credit(2))
    assert words(rows) == ["ok", "LG002", "ok"]
    assert pending(rich) == {"p": "PENDING"}


def test_a_key_that_came_before_in_the_batch(rich: Ledger) -> None:
    rows = post_batch(rich, *[spend(1, key=key) for key in ("k", "l", "k", "m", "l", "k")])
    assert words(rows) == ["ok", "ok", "replayed", "ok", "replayed", "replayed"]


def test_a_key_that_is_posted(rich: Ledger) -> None:
    post_batch(rich, *spends(1, key="k"), *spends(2, account_id="b", key="l"))
    rows = post_batch(
        rich,
        *(spend(2, key="l"), spend(1, key="k"), spend(3)),
        *(spend(1, "b", key="k"), spend(3, "b"), spend(2, "b", key="l")),
    )
    assert words(rows) == ["ok", "replayed", "ok", "ok", "ok", "replayed"]


def test_a_key_that_only_other_accounts_know_is_in_nobodys_way(rich: Ledger) -> None:
    for account_id in "abcd":
        ask(rich, "top_up", account_id=account_id, amount=9, key=f"k{account_id == 'a'}")
        ask(rich, "hold", account_id=account_id, amount=1, key=f"h{account_id == 'a'}")
    rows = post_batch(rich, spend(1, key="kFalse"), spend(2, key="hFalse"), spend(3))
    assert words(rows) == ["ok"] * 3
    assert in_order(rich)


def test_what_the_sum_is_short_of(rich: Ledger) -> None:
    assert words(post_batch(rich, *spends(60, 41, 40, 1))) == ["ok", "LG001", "ok", "LG001"]
    assert words(post_batch(rich, *spends(50, 50, account_id="b"))) == ["ok", "ok"]
    assert words(post_batch(rich, *spends(1, account_id="b"))) == ["LG001"]


def test_what_a_hold_reserves(rich: Ledger) -> None:
    ask(rich, "hold", account_id="a", amount=40)
    rows = post_batch(rich, *spends(1, 2))
    assert [(row["balance"], row["available"]) for row in rows] == [(99, 59), (97, 57)]
    rows = post_batch(rich, *spends(30, 28, 27))
    assert words(rows) == ["ok", "LG001", "ok"]
    assert [row["available"] for row in rows] == [27, 27, 0]


def test_a_floor_below_and_one_that_is_reached(rich: Ledger) -> None:
    ask(rich, "set_limits", account_id="a", min_balance=-10)
    rows = post_batch(rich, *spends(60, 50, 1))
    assert words(rows) == ["ok", "ok", "LG001"]
    assert [row["balance"] for row in rows] == [40, -10, -10]


def test_a_debt_that_only_debt_may_make(rich: Ledger) -> None:
    ask(rich, "set_limits", account_id="a", debt_floor=-10)
    rows = post_batch(rich, *spends(60, 50, shortfall="DEBT"), spend(1), spend(1, shortfall="DEBT"))
    assert words(rows) == ["ok", "ok", "LG001", "LG001"]


@pytest.mark.parametrize("status", ["FROZEN", "CLOSED"])
def test_an_account_that_is_not_open(rich: Ledger, status: str) -> None:
    ask(rich, "spend", account_id="a", amount=100)
    ask(rich, "set_account_status", account_id="a", status=status)
    assert words(post_batch(rich, *spends(1, 2), spend(1, "b"))) == ["LG004", "LG004", "ok"]
    credited = words(post_batch(rich, *credits_of(1, 2)))
    assert credited == (["ok", "ok"] if status == "FROZEN" else ["LG004", "LG004"])


def test_a_cap_that_the_sum_exceeds_or_that_does_not_count_them(rich: Ledger) -> None:
    ask(rich, "set_spending_cap", account_id="a", amount=10, period="1 day", time_zone=zone())
    assert words(post_batch(rich, *spends(2, 3, type="ADJUSTMENT"))) == ["ok", "ok"]
    assert words(post_batch(rich, spend(1, type="REFUND"), spend(4))) == ["ok", "ok"]
    assert ask(rich, "get_spending_cap", account_id="a")["remaining"] == 6
    assert words(post_batch(rich, *spends(4, 1))) == ["ok", "ok"]
    assert ask(rich, "get_spending_cap", account_id="a")["remaining"] == 1
    assert words(post_batch(rich, *spends(1, 1))) == ["ok", "LG008"]
    assert words(post_batch(rich, *spends(20, 20, type="ADJUSTMENT"))) == ["ok", "ok"]
    assert words(post_batch(rich, spend(1, type="ADJUSTMENT"), spend(1))) == ["ok", "LG008"]
    assert ask(rich, "get_spending_cap", account_id="a")["used"] == 10
    post_batch(rich, *credits_of(5, 6, type="USAGE"))
    assert ask(rich, "get_spending_cap", account_id="a")["used"] == 10
    assert in_order(rich)


def test_a_lot_that_pays_in_part(db: Ledger) -> None:
    give(db, "pool", 10)
    give(db, "lot", 10, day(3))
    post_batch(db, *[spend(n, key=f"k{n}") for n in (3, 4, 5)])
    assert [paid(db, f"k{n}") for n in (3, 4, 5)] == [
        [("lot", 3)],
        [("lot", 4)],
        [("lot", 3), (None, 2)],
    ]
    assert unreckoned(db) == []


def test_a_lot_that_pays_all(db: Ledger) -> None:
    give(db, "pool", 10)
    give(db, "lot", 10, day(3))
    post_batch(db, *[spend(n, key=f"k{n}") for n in (3, 4)])
    assert [paid(db, f"k{n}") for n in (3, 4)] == [[("lot", 3)], [("lot", 4)]]
    assert unreckoned(db) == []
    post_batch(db, *credits_of(3, 4))
    assert paid(db, ask(db, "spend", account_id="a", amount=12)["key"]) == [("lot", 3), (None, 9)]
    assert unreckoned(db) == []


def test_a_pool_that_lots_come_after(db: Ledger) -> None:
    give(db, "last", 10, priority=5)
    give(db, "pool", 10)
    post_batch(db, *credits_of(1, 2))
    post_batch(db, *[spend(n, key=f"k{n}") for n in (6, 7, 1)])
    assert [paid(db, f"k{n}") for n in (6, 7, 1)] == [[(None, 6)], [(None, 7)], [("last", 1)]]
    assert unreckoned(db) == []
    post_batch(db, *spends(2, 3))
    assert unreckoned(db) == []


def test_a_lot_that_is_over(db: Ledger) -> None:
    give(db, "pool", 10)
    give(db, "gone", 10, day(1))
    let_pass(db, "2 days")
    assert words(post_batch(db, *spends(4, 6, 1))) == ["ok", "ok", "LG001"]
    assert posted(db, "a") == [10, 10, -10, -4, -6]
    assert unreckoned(db) == []


def test_a_level_that_the_sum_crosses(rich: Ledger) -> None:
    ask(rich, "set_low_balance_level", account_id="a", level=50)
    ask(rich, "hold", account_id="a", amount=20)
    post_batch(rich, *spends(20, 10))
    assert events(rich) == []
    post_batch(rich, *[spend(n, key=f"k{n}") for n in (1, 2, 3)])
    ((kind, payload),) = events(rich)
    assert (kind, payload["key"], payload["available"]) == ("low_balance", "k1", 49)
    post_batch(rich, *spends(1, 1))
    assert len(events(rich)) == 1
    assert in_order(rich)


def test_a_threshold_that_the_sum_crosses(rich: Ledger) -> None:
    ask(rich, "set_auto_top_up", account_id="a", threshold=50, amount=200)
    ask(rich, "hold", account_id="a", amount=20)
    post_batch(rich, *spends(20, 10))
    assert events(rich) == []
    post_batch(rich, *[spend(n, reference=f"chat {n}") for n in (1, 2, 3)])
    ((kind, payload),) = events(rich)
    assert (kind, payload["reference"], payload["available"]) == ("top_up_requested", "chat 1", 49)
    assert in_order(rich)


def test_an_external_id(rich: Ledger) -> None:
    one = credit(5, external_id="pi_1")
    assert words(post_batch(rich, one, one, credit(1))) == ["ok", "replayed", "ok"]
    assert words(post_batch(rich, credit(1), one)) == ["ok", "replayed"]


def test_a_ceiling(rich: Ledger) -> None:
    rows = post_batch(rich, credit(5), credit(5, ceiling_balance=107), credit(5))
    assert [row["amount"] for row in rows] == [5, 2, 5]


def test_an_end_or_a_priority(rich: Ledger) -> None:
    rows = post_batch(rich, credit(5), credit(5, expires_at=day(1)), credit(5, priority=3))
    assert words(rows) == ["ok"] * 3
    found = rich.execute("select seq from pgledger.lots order by seq").fetchall()
    assert [row["seq"] for row in found] == [3, 4]
    assert unreckoned(rich) == []


def test_what_is_forced(rich: Ledger) -> None:
    rows = post_batch(rich, *spends(50, 60, 70, shortfall="FORCE"))
    assert [row["balance"] for row in rows] == [50, -10, -80]
    rows = post_batch(rich, *spends(1, account_id="b", shortfall="FORCE"), spend(100, "b"))
    assert words(rows) == ["ok", "LG001"]


def test_a_sum_that_no_bigint_holds(rich: Ledger) -> None:
    rows = post_batch(rich, *credits_of(*[2**61] * 6, 5))
    assert words(rows) == [*["ok"] * 3, *["22003"] * 3, "ok"]
    rows = post_batch(rich, *credits_of(2**62, 2**62, 2**62, 5))
    assert words(rows) == ["22003", "22003", "22003", "ok"]
    rows = post_batch(rich, *spends(HIGHEST, HIGHEST, HIGHEST, 1, account_id="b"))
    assert words(rows) == ["LG001", "LG001", "LG001", "ok"]
    rows = post_batch(rich, *spends(HIGHEST, 100, account_id="b"))
    assert words(rows) == ["LG001", "LG001"]
    assert in_order(rich)


@pytest.mark.parametrize("balance", [HIGHEST - 5, 2**62, 2**61, 2**61 - 1])
def test_a_balance_near_the_highest_bigint(db: Ledger, balance: int) -> None:
    ask(db, "top_up", account_id="a", amount=balance)
    room = HIGHEST - balance
    rows = post_batch(db, *credits_of(1, 2, room - 3, 1))
    assert words(rows) == ["ok", "ok", "ok", "22003"]
    rows = post_batch(db, *spends(2**61, 2**61, 2**60))
    assert [row["balance"] for row in rows] == [
        HIGHEST - 2**61,
        HIGHEST - 2 * 2**61,
        HIGHEST - 2 * 2**61 - 2**60,
    ]
    assert in_order(db)


@pytest.mark.parametrize("balance", [LOWEST + 5, -(2**62), -(2**61)])
def test_a_balance_near_the_lowest_bigint(db: Ledger, balance: int) -> None:
    ask(db, "open_account", account_id="a", min_balance=LOWEST)
    ask(db, "spend", account_id="a", amount=-balance)
    rows = post_batch(db, *spends(1, 2, balance - LOWEST - 3))
    assert words(rows) == ["ok", "ok", "ok"]
    assert rows[-1]["balance"] == LOWEST
    assert post_batch(db, spend(1))[0]["status"] == "REFUSED"
    rows = post_batch(db, *credits_of(2**62, 2**61, 2**61))
    assert [row["balance"] for row in rows] == [LOWEST + 2**62, LOWEST + 2**62 + 2**61, 0]
    assert in_order(db)


def test_credits_and_debits_that_leave_what_was_there(rich: Ledger) -> None:
    rows = post_batch(rich, spend(150), credit(60), spend(150), credit(1), spend(100))
    assert words(rows) == ["LG001", "ok", "ok", "ok", "LG001"]
    ask(rich, "set_low_balance_level", account_id="b", level=50)
    post_batch(rich, spend(60, "b"), credit(60, "b"))
    assert [kind for kind, _ in events(rich, "b")] == ["low_balance"]


def test_a_time_ahead_of_the_clock(rich: Ledger) -> None:
    rich.execute("update pgledger.balances set updated_at = now() + interval '1 hour'")
    (ahead,) = rich.execute("select updated_at from pgledger.balances where account_id = 'a'")
    rows = post_batch(rich, *spends(1, 2))
    assert {row["created_at"] for row in rows} == {ahead["updated_at"]}
    assert in_order(rich)


def test_the_time_of_a_batch_is_when_it_was_posted(rich: Ledger) -> None:
    before = rich.execute("select clock_timestamp() as at").fetchall()[0]["at"]
    with rich.transaction():
        rich.execute("select 1")
        rows = post_batch(rich, *spends(1, 2))
        again = post_batch(rich, *spends(1, 2))
    assert before < rows[0]["created_at"] < again[0]["created_at"]
    (hot,) = rich.execute("select updated_at from pgledger.balances where account_id = 'a'")
    assert hot["updated_at"] == again[1]["created_at"]
