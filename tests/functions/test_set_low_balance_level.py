from typing import Any

import pytest

from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    day,
    events,
    everything,
    give,
    in_order,
    let_expire,
    let_pass,
    refused,
    replayed,
    write_history,
)


@pytest.fixture
def watched(db: Ledger) -> Ledger:
    """An account with 100 credits and the level 50."""
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "set_low_balance_level", account_id="a", level=50)
    return db


def lows(db: Ledger) -> list[int]:
    """Return what was available at each crossing."""
    return [said["available"] for kind, said in events(db) if kind == "low_balance"]


def test_the_level_is_set_and_told(db: Ledger) -> None:
    opened = ask(db, "open_account", account_id="a", min_balance=-5, metadata={"m": 1})
    assert opened["low_balance_level"] is None
    for level in (50, 0, -3, HIGHEST, LOWEST, None):
        row = ask(db, "set_low_balance_level", account_id="a", level=level)
        assert row == opened | {"low_balance_level": level}
        assert in_order(db)


def test_without_a_level_none_is_meant(watched: Ledger) -> None:
    assert ask(watched, "set_low_balance_level", account_id="a")["low_balance_level"] is None
    ask(watched, "spend", account_id="a", amount=100)
    assert events(watched) == []
    assert in_order(watched)


def test_a_repeat_changes_nothing(watched: Ledger) -> None:
    ask(watched, "spend", account_id="a", amount=60)
    before = everything(watched)
    ask(watched, "set_low_balance_level", account_id="a", level=50)
    assert everything(watched) == before


def test_an_unknown_account_is_not_found(db: Ledger) -> None:
    details = refused(db, "LG003", "set_low_balance_level", account_id="a", level=5)
    assert details == {"account_id": "a", "key": None}
    write_history(db, "a", 100)
    assert ask(db, "set_low_balance_level", account_id="a", level=5)["low_balance_level"] == 5
    ask(db, "spend", account_id="a", amount=96)
    assert lows(db) == [4]
    assert in_order(db)


def test_the_spend_that_crosses_it_is_told_once(watched: Ledger) -> None:
    ask(watched, "spend", account_id="a", amount=50)
    assert events(watched) == []
    ask(watched, "spend", account_id="a", amount=1, key="k", reference="chat")
    assert events(watched) == [
        ("low_balance", {"available": 49, "level": 50, "key": "k", "reference": "chat"})
    ]
    for _ in range(3):
        ask(watched, "spend", account_id="a", amount=1)
    ask(watched, "top_up", account_id="a", amount=3)
    ask(watched, "spend", account_id="a", amount=1)
    assert lows(watched) == [49]
    assert in_order(watched)


def test_each_crossing_is_told(watched: Ledger) -> None:
    ask(watched, "spend", account_id="a", amount=100)
    ask(watched, "top_up", account_id="a", amount=50)
    ask(watched, "spend", account_id="a", amount=1)
    ask(watched, "top_up", account_id="a", amount=1)
    ask(watched, "spend", account_id="a", amount=1)
    assert lows(watched) == [0, 49, 49]
    assert in_order(watched)


def test_setting_a_level_tells_nothing_until_it_is_crossed(watched: Ledger) -> None:
    ask(watched, "set_low_balance_level", account_id="a", level=200)
    ask(watched, "spend", account_id="a", amount=10)
    assert lows(watched) == []
    ask(watched, "set_low_balance_level", account_id="a", level=90)
    ask(watched, "spend", account_id="a", amount=1)
    assert lows(watched) == [89]


@pytest.mark.parametrize("external_id", [None, "x"])
def test_whatever_takes_credits_crosses_it(watched: Ledger, external_id: str | None) -> None:
    for amount in (-60, 60):
        ask(
            watched,
            "add_transaction",
            account_id="a",
            amount=amount,
            type="ADJUSTMENT",
            external_id=external_id,
            key=f"k{amount}",
        )
    assert [said["key"] for _, said in events(watched)] == ["k-60"]
    ask(watched, "hold", account_id="a", amount=60, key="held")
    ask(watched, "capture", account_id="a", key="held", amount=55)
    ask(watched, "refund", account_id="a", original_key="#1", amount=1, key="refund")
    assert lows(watched) == [40, 40]
    assert in_order(watched)


@pytest.mark.parametrize("way", [{}, {"metadata": {"n": 1}}])
@pytest.mark.parametrize("expires_at", [None, "2200-01-01"])
def test_a_hold_crosses_it_and_its_capture_and_release_do_not(
    watched: Ledger, expires_at: str | None, way: dict[str, Any]
) -> None:
    given = {"account_id": "a", "amount": 60, "expires_at": expires_at}
    ask(watched, "hold", **given, key="k", reference="chat")
    assert events(watched) == [
        ("low_balance", {"available": 40, "level": 50, "key": "k", "reference": "chat"})
    ]
    ask(watched, "release", account_id="a", key="k")
    ask(watched, "hold", **given, key="l")
    ask(watched, "capture", account_id="a", key="l", **way)
    assert lows(watched) == [40, 40]
    replayed(watched, "hold", **given, key="l")
    ask(watched, "hold", account_id="a", amount=5)
    assert lows(watched) == [40, 40]


@pytest.mark.parametrize("level", [10, 40, 101])
def test_a_spend_that_asks_for_a_top_up_need_not_cross_it(db: Ledger, level: int) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "set_low_balance_level", account_id="a", level=level)
    ask(db, "set_auto_top_up", account_id="a", threshold=50, amount=200)
    ask(db, "spend", account_id="a", amount=60)
    assert [kind for kind, _ in events(db)] == ["top_up_requested"]


def test_the_level_of_one_account_is_not_that_of_another(watched: Ledger) -> None:
    ask(watched, "top_up", account_id="b", amount=100)
    ask(watched, "set_low_balance_level", account_id="a", level=60)
    ask(watched, "spend", account_id="b", amount=100)
    assert events(watched, "b") == []
    assert in_order(watched)


@pytest.mark.parametrize("way", [{}, {"metadata": {"n": 1}}])
def test_a_capture_that_asks_for_a_top_up_crosses_nothing(db: Ledger, way: dict[str, Any]) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "hold", account_id="a", amount=60, key="k")
    ask(db, "set_low_balance_level", account_id="a", level=50)
    ask(db, "set_auto_top_up", account_id="a", threshold=60, amount=200)
    ask(db, "capture", account_id="a", key="k", **way)
    assert [kind for kind, _ in events(db)] == ["top_up_requested"]


def test_the_sender_of_a_transfer_crosses_it_and_the_receiver_does_not(watched: Ledger) -> None:
    ask(watched, "open_account", account_id="b")
    ask(watched, "set_low_balance_level", account_id="b", level=50)
    ask(watched, "transfer", from_account_id="a", to_account_id="b", amount=60, key="k")
    assert lows(watched) == [40]
    assert events(watched, "b") == []


def test_what_was_freed_by_expiry_is_taken_into_account(watched: Ledger) -> None:
    ask(watched, "hold", account_id="a", amount=60, key="k", expires_at="2200-01-01")
    let_expire(watched)
    ask(watched, "spend", account_id="a", amount=50)
    assert lows(watched) == [40]
    ask(watched, "spend", account_id="a", amount=1)
    assert lows(watched) == [40, 49]
    assert [kind for kind, _ in events(watched)] == ["low_balance", "hold_expired", "low_balance"]
    assert in_order(watched)


def test_it_is_told_before_the_top_up_that_answers_it(watched: Ledger) -> None:
    given = {"account_id": "a", "threshold": 50, "amount": 200}
    ask(watched, "set_auto_top_up", **given)
    ask(watched, "spend", account_id="a", amount=60)
    assert [kind for kind, _ in events(watched)] == ["low_balance", "top_up_requested"]
    ask(watched, "top_up", account_id="a", amount=60)
    ask(watched, "set_auto_top_up", **given, mode="INSTANT")
    assert ask(watched, "spend", account_id="a", amount=60)["available"] == 240
    assert lows(watched) == [40, 40]


def test_a_refused_or_rolled_back_spend_tells_nothing(watched: Ledger) -> None:
    refused(watched, "LG001", "spend", account_id="a", amount=101)
    ask(watched, "spend", account_id="a", amount=101, raise_refusals=False)
    with watched.transaction(force_rollback=True):
        ask(watched, "spend", account_id="a", amount=60)
    assert events(watched) == []


@pytest.mark.parametrize(("level", "told"), [(HIGHEST, 1), (LOWEST, 0), (-4, 1), (-5, 0)])
def test_levels_at_the_edges(db: Ledger, level: int, told: int) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    ask(db, "top_up", account_id="a", amount=HIGHEST)
    ask(db, "spend", account_id="a", amount=HIGHEST - 5)
    ask(db, "top_up", account_id="a", amount=HIGHEST - 5)
    ask(db, "set_low_balance_level", account_id="a", level=level)
    ask(db, "spend", account_id="a", amount=HIGHEST)
    ask(db, "spend", account_id="a", amount=5)
    assert len(lows(db)) == told
    assert in_order(db)


def test_a_lost_balance_row_comes_back_with_its_level(watched: Ledger) -> None:
    watched.execute("delete from pgledger.balances")
    ask(watched, "spend", account_id="a", amount=60)
    assert lows(watched) == [40]
    assert in_order(watched)


def test_an_expiry_that_crosses_the_level_is_told_when_it_is_posted(watched: Ledger) -> None:
    ask(watched, "spend", account_id="a", amount=40)
    give(watched, "trial", 60, day(1))
    ask(watched, "spend", account_id="a", amount=15)
    let_pass(watched, "2 days")
    assert lows(watched) == []
    # 60 are left; these are not below the level, and so neither is the next.
    ask(watched, "spend", account_id="a", amount=5)
    assert lows(watched) == []
    give(watched, "other", 30, day(1), priority=1)
    ask(watched, "spend", account_id="a", amount=6)
    let_pass(watched, "2 days")
    ask(watched, "set_limits", account_id="a", min_balance=0)
    ((kind, said),) = events(watched)
    assert kind == "low_balance"
    assert (said["available"], said["level"], said["reference"]) == (49, 50, None)
    ask(watched, "spend", account_id="a", amount=1)
    assert len(events(watched)) == 1
    assert in_order(watched)
