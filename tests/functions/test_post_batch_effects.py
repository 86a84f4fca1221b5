"""post_batch where more than a balance moves: lots, what is due, caps, and what levels cause."""

import pytest

from tests.batches import credit, post_batch, spend, words
from tests.plans import plan, refills, zone
from tests.support import (
    Ledger,
    ask,
    day,
    events,
    expiries,
    give,
    head,
    in_order,
    journal,
    left,
    let_expire,
    let_pass,
    paid,
    pending,
    pool,
    posted,
    unreckoned,
)


@pytest.fixture
def rich(db: Ledger) -> Ledger:
    """Two accounts with 100 credits each."""
    for account_id in ("a", "b"):
        ask(db, "top_up", account_id=account_id, amount=100)
    return db


# Lots


def test_lots_pay_a_batch_in_draw_order(db: Ledger) -> None:
    give(db, "pool", 10)
    give(db, "late", 10, day(9))
    give(db, "soon", 10, day(3))
    rows = post_batch(db, *[spend(n, key=f"k{n}") for n in (4, 5, 6, 7)], spend(9), spend(8))
    assert words(rows) == ["ok", "ok", "ok", "ok", "LG001", "ok"]
    assert paid(db, "k4") == [("soon", 4)]
    assert paid(db, "k5") == [("soon", 5)]
    assert paid(db, "k6") == [("soon", 1), ("late", 5)]
    assert paid(db, "k7") == [("late", 5), (None, 2)]
    assert pool(db) == 0
    assert unreckoned(db) == []


def test_the_head_lot_alone_pays_while_it_lasts(db: Ledger) -> None:
    give(db, "pool", 10)
    give(db, "lot", 10, day(3))
    rows = post_batch(db, spend(4), spend(3), spend(3))
    assert words(rows) == ["ok"] * 3
    assert [paid(db, f"#{seq}") for seq in (3, 4, 5)] == [[("lot", 4)], [("lot", 3)], [("lot", 3)]]
    assert (left(db), pool(db)) == ({}, 10)
    post_batch(db, spend(2), spend(3))
    assert paid(db, "#7") == [(None, 3)]
    assert head(db) == (None, None)
    assert unreckoned(db) == []


def test_a_batch_may_form_lots_and_draw_on_them(db: Ledger) -> None:
    rows = post_batch(
        db,
        *(credit(5, key="pool"), credit(5, key="lot", expires_at=day(2)), spend(7, key="s")),
        *(credit(5, key="first", priority=-1), spend(6, key="t"), spend(3)),
        credit(4, key="later", expires_at=day(1)),
    )
    assert words(rows) == ["ok", "ok", "ok", "ok", "ok", "LG001", "ok"]
    assert paid(db, "s") == [("lot", 5), (None, 2)]
    assert paid(db, "t") == [("first", 5), (None, 1)]
    assert left(db) == {"later": 4}
    assert unreckoned(db) == []


def test_a_credit_goes_to_the_pool_while_a_lot_is_the_head(db: Ledger) -> None:
    give(db, "lot", 5, day(2))
    post_batch(db, credit(3), spend(1), credit(3), spend(6, key="s"))
    assert paid(db, "s") == [("lot", 4), (None, 2)]
    assert (pool(db), left(db)) == (4, {})
    assert unreckoned(db) == []


def test_a_debt_is_paid_before_a_lot_is_formed(db: Ledger) -> None:
    post_batch(db, spend(6, shortfall="FORCE"), credit(10, key="lot", expires_at=day(2)), spend(1))
    assert (left(db), pool(db)) == ({"lot": 3}, 0)
    assert unreckoned(db) == []


def test_a_lot_of_lower_rank_pays_after_the_pool(db: Ledger) -> None:
    give(db, "last", 10, priority=5)
    give(db, "pool", 10)
    rows = post_batch(db, spend(4), spend(4), spend(4, key="s"), spend(4))
    assert words(rows) == ["ok"] * 4
    assert paid(db, "s") == [(None, 2), ("last", 2)]
    assert left(db) == {"last": 4}
    assert unreckoned(db) == []


# What is due


def test_what_fell_due_is_posted_before_the_batch(db: Ledger) -> None:
    give(db, "pool", 10)
    give(db, "gone", 10, day(1))
    ask(db, "hold", account_id="a", amount=5, key="h", expires_at=day(2))
    let_pass(db, "60 hours")
    rows = post_batch(db, spend(11), spend(10), spend(1))
    assert words(rows) == ["LG001", "ok", "LG001"]
    assert [row["balance"] for row in rows] == [10, 0, 0]
    assert [(lot, amount) for lot, amount, _ in expiries(db)] == [("gone", 5), ("gone", 5)]
    assert pending(db) == {"h": "EXPIRED"}
    assert unreckoned(db) == []


def test_a_hold_that_expired_frees_credits_for_the_batch(rich: Ledger) -> None:
    ask(rich, "hold", account_id="a", amount=90, key="h", expires_at=day(1))
    assert words(post_batch(rich, spend(20))) == ["LG001"]
    let_expire(rich, "h")
    rows = post_batch(rich, spend(20), spend(20), spend(61), spend(60))
    assert words(rows) == ["ok", "ok", "LG001", "ok"]
    assert [kind for kind, _ in events(rich)] == ["hold_expired"]
    assert in_order(rich)


def test_a_refused_batch_posts_what_is_due_as_refused_calls_do(db: Ledger) -> None:
    give(db, "gone", 10, day(1))
    let_pass(db, "2 days")
    (row,) = post_batch(db, spend(5))
    assert (row["refusal"], row["balance"]) == ("LG001", 0)
    assert journal(db) == [("GRANT", 10), ("EXPIRY", -10)]
    assert unreckoned(db) == []


def test_a_misused_item_tells_the_balance_without_what_is_due(db: Ledger) -> None:
    give(db, "pool", 5)
    give(db, "gone", 10, day(1))
    ask(db, "hold", account_id="a", amount=1)
    let_pass(db, "2 days")
    (row,) = post_batch(db, spend(0))
    assert (row["refusal"], row["balance"], row["available"]) == ("22023", 6, 5)
    (row,) = post_batch(db, spend(0, "nobody"))
    assert (row["balance"], row["available"]) == (0, 0)


def test_a_refill_that_is_due_is_there_for_the_batch(db: Ledger) -> None:
    plan(db, "pro", 30, policy="ADD", anchor="ACCOUNT")
    ask(db, "open_account", account_id="a")
    ask(db, "assign_plan", account_id="a", plan="pro", starts_at=day(1))
    assert words(post_batch(db, spend(1))) == ["LG001"]
    let_pass(db, "36 hours")
    rows = post_batch(db, spend(20), spend(20), spend(10))
    assert words(rows) == ["ok", "LG001", "ok"]
    assert [amount for _, amount in refills(db)] == [30]
    assert in_order(db)


def test_repeats_alone_post_nothing_that_is_due(db: Ledger) -> None:
    give(db, "k", 10, day(1))
    let_pass(db, "2 days")
    rows = post_batch(db, *[credit(10, key="k", expires_at=day(-1))] * 2)
    assert [(row["replayed"], row["balance"]) for row in rows] == [(True, 0)] * 2
    assert journal(db) == [("GRANT", 10)]


# Spending caps


def test_a_cap_counts_what_the_batch_uses(rich: Ledger) -> None:
    ask(rich, "set_spending_cap", account_id="a", amount=10, period="1 day", time_zone=zone())
    rows = post_batch(
        rich,
        *(spend(6), spend(5), spend(5, type="ADJUSTMENT"), spend(9, shortfall="PARTIAL", key="k")),
        *(spend(1), spend(1, shortfall="PARTIAL"), spend(2, shortfall="FORCE"), credit(50)),
        *(spend(1), spend(1, "b"), spend(9, shortfall="PARTIAL", key="k")),
    )
    assert words(rows) == [
        *("ok", "LG008", "ok", "ok", "LG008", "LG008", "ok", "ok", "LG008", "ok", "replayed")
    ]
    assert rows[3]["amount"] == -4
    details = rows[1]["error"]["detail"]
    assert (details["used"], details["remaining"], details["requested"]) == (6, 4, 5)
    assert ask(rich, "get_spending_cap", account_id="a")["used"] == 12
    assert in_order(rich)


def test_the_cap_is_told_before_a_shortage(rich: Ledger) -> None:
    ask(rich, "set_spending_cap", account_id="a", amount=10, period="1 day", time_zone=zone())
    rows = post_batch(rich, spend(1000), spend(10), spend(1000, type="ADJUSTMENT"))
    assert words(rows) == ["LG008", "ok", "LG001"]


# What levels cause


def test_a_level_crossed_in_the_middle_of_a_batch_is_told_once_each_time(rich: Ledger) -> None:
    ask(rich, "set_low_balance_level", account_id="a", level=50)
    post_batch(
        rich,
        *(spend(50), spend(1, key="k", reference="chat"), spend(9), credit(20), spend(200)),
        *(spend(10), spend(1), spend(40, "b")),
    )
    told = events(rich)
    assert [kind for kind, _ in told] == ["low_balance"] * 2
    assert told[0][1] == {"available": 49, "level": 50, "key": "k", "reference": "chat"}
    assert (told[1][1]["available"], told[1][1]["key"]) == (49, "#7")
    assert events(rich, "b") == []
    assert in_order(rich)


def test_an_intent_is_asked_for_by_the_item_that_left_less(rich: Ledger) -> None:
    ask(rich, "set_auto_top_up", account_id="a", threshold=50, amount=200)
    rows = post_batch(
        rich, spend(40), spend(20, reference="chat"), spend(20), credit(1), spend(5, reference="x")
    )
    assert words(rows) == ["ok"] * 5
    assert [kind for kind, _ in events(rich)] == ["top_up_requested"]
    ((_, payload),) = events(rich)
    assert (payload["available"], payload["reference"]) == (40, "chat")
    assert pending(rich) == {"#auto-1": "PENDING"}
    assert [row["balance"] for row in rows] == [60, 40, 20, 21, 16]
    assert in_order(rich)


def test_an_instant_top_up_is_there_for_the_items_after_it(rich: Ledger) -> None:
    ask(rich, "set_auto_top_up", account_id="a", threshold=50, amount=200, mode="INSTANT")
    rows = post_batch(rich, spend(40), spend(20), spend(240), spend(10), spend(300))
    assert words(rows) == ["ok", "ok", "ok", "ok", "LG001"]
    assert [row["seq"] for row in rows] == [2, 3, 5, 7, None]
    assert [row["running_balance"] for row in rows] == [60, 40, 0, 190, None]
    assert [row["balance"] for row in rows] == [60, 240, 200, 190, 190]
    assert posted(rich, "a") == [100, -40, -20, 200, -240, 200, -10]
    assert in_order(rich)


def test_a_limited_auto_top_up_pauses_within_the_batch(rich: Ledger) -> None:
    settings = {"threshold": 50, "amount": 60, "mode": "INSTANT", "daily_count_limit": 1}
    ask(rich, "set_auto_top_up", account_id="a", **settings)
    rows = post_batch(rich, spend(60), spend(60), spend(30), spend(20))
    assert words(rows) == ["ok", "ok", "ok", "LG001"]
    assert posted(rich, "a") == [100, -60, 60, -60, -30]
    assert in_order(rich)


def test_a_refused_item_asks_for_no_top_up(rich: Ledger) -> None:
    ask(rich, "set_auto_top_up", account_id="a", threshold=50, amount=200)
    assert words(post_batch(rich, spend(101), spend(0), spend(10))) == ["LG001", "22023", "ok"]
    assert events(rich) == []
