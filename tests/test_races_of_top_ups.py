"""Top-ups under several connections at once: charged once, declined once, within their limits.

As in test_concurrency: rounds that came out wrong are counted, and there are none.
"""

from typing import LiteralString

import pytest

from tests.races import ROUNDS, balances, for_each_account, unsound, words, wrong_rounds
from tests.sessions import Call, Connect, Connection, Outcome, race, stepped
from tests.support import ask
from tests.top_ups import KEY, charge, owe, settings

CLAIM: LiteralString = "select * from pgledger.claim_top_ups(1)"
DECLINE: LiteralString = "select * from pgledger.decline_top_up(%s, '#auto-1', 0, 'declined')"
GIVE_UP: LiteralString = (
    "select * from pgledger.decline_top_up(%s, '#auto-1', 0, 'declined', give_up => true)"
)
DEFER: LiteralString = "select * from pgledger.defer_top_up(%s, '#auto-1', 0)"
ENABLE: LiteralString = "select * from pgledger.enable_transaction(%s, '#auto-1', 'pi_1')"
CANCEL: LiteralString = "select * from pgledger.cancel_transaction(%s, '#auto-1')"
CREATE: LiteralString = "select * from pgledger.create_top_up(%s, 10, %s)"
CHANGE: LiteralString = "select * from pgledger.set_auto_top_up('a', 50, 300)"

OWED: list[LiteralString] = [
    "pgledger.top_up(account, 100)",
    "pgledger.set_auto_top_up(account, 50, 200)",
    "pgledger.spend(account, 60)",
]


@pytest.fixture
def owed(db: Connection) -> Connection:
    """An account for each round whose auto-top-up has asked for 200."""
    for call in OWED:
        for_each_account(db, ROUNDS, call)
    return db


def charges(db: Connection) -> set[tuple[int, int, bool]]:
    """How often each was claimed and declined, and whether it is due again."""
    found = db.execute("select claims, declines, due_at is not null as due from pgledger.charges")
    return {(row["claims"], row["declines"], row["due"]) for row in found}


def failures(db: Connection) -> list[int]:
    """How many accounts were told how often of a failure."""
    found = db.execute(
        "select count(*) as told from pgledger.events where kind = 'top_up_failed'"
        " group by account_id"
    ).fetchall()
    return sorted({row["told"] for row in found})


def test_each_is_claimed_by_one_of_several(connect: Connect, owed: Connection) -> None:
    outcomes = race(connect, ROUNDS // 2, lambda _: [(CLAIM, [])] * 4)
    claimed = [row["account_id"] for round_ in outcomes for one in round_ for row in one.rows]
    assert sorted(claimed) == sorted(f"r{n}" for n in range(ROUNDS))
    assert charges(owed) == {(1, 0, True)}
    assert unsound(owed) == []


def test_a_decline_told_by_four_at_once_counts_once(connect: Connect, owed: Connection) -> None:
    def calls(n: int) -> list[Call]:
        return [(DECLINE, [f"r{n}"])] * 4

    expected = {"ok": 1, "replayed": 3}
    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == expected) == []
    assert charges(owed) == {(0, 1, True)}
    assert failures(owed) == [1]
    assert unsound(owed) == []


@pytest.mark.parametrize("decline", [DECLINE, GIVE_UP])
def test_what_was_paid_is_credited_whatever_else_is_told(
    connect: Connect, owed: Connection, decline: LiteralString
) -> None:
    def is_right(_: int, round_: list[Outcome]) -> bool:
        return round_[0].word == "ok" and round_[1].word in ("ok", "replayed")

    def calls(n: int) -> list[Call]:
        return [(ENABLE, [f"r{n}"]), (decline, [f"r{n}"]), (DEFER, [f"r{n}"]), (CLAIM, [])]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(owed).values()) == {240}
    assert {due for _, _, due in charges(owed)} == {False}
    assert unsound(owed) == []
    assert owed.execute(CLAIM).fetchall() == []


def test_what_is_cancelled_is_cancelled_once(connect: Connect, owed: Connection) -> None:
    def calls(n: int) -> list[Call]:
        return [(CANCEL, [f"r{n}"]), (GIVE_UP, [f"r{n}"])] * 2

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_)["ok"] == 1 and words(round_)["replayed"] == 3

    assert wrong_rounds(connect, calls, is_right) == []
    assert {due for _, _, due in charges(owed)} == {False}
    assert unsound(owed) == []


def test_one_key_announces_one_top_up(connect: Connect, db: Connection) -> None:
    def calls(n: int) -> list[Call]:
        return [(CREATE, [f"r{n}", "k"])] * 4

    expected = {"ok": 1, "replayed": 3}
    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == expected) == []
    assert unsound(db) == []


@pytest.mark.parametrize(("limit", "good"), [("daily_count_limit", 2), ("daily_amount_limit", 20)])
def test_no_limit_of_a_day_is_passed(
    connect: Connect, db: Connection, limit: str, good: int
) -> None:
    ask(db, "set_top_up_limits", **{limit: good})

    def calls(n: int) -> list[Call]:
        return [(CREATE, [f"r{n}", f"k{racer}"]) for racer in range(4)]

    expected = {"ok": 2, "LG012": 2}
    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == expected) == []
    assert unsound(db) == []


def test_a_claim_waits_for_nobody(connect: Connect, db: Connection) -> None:
    for account_id in ("a", "b"):
        owe(db, account_id)
    with stepped(connect, 3) as (first, second, third):
        first.run("begin")
        assert first.run(CLAIM).row["account_id"] == "a"
        second.run("begin")
        second.run("select pgledger.spend('b', 1)")
        assert third.run(CLAIM).row["account_id"] == "b"
        assert third.run(CLAIM).rows == []
        first.run("rollback")
        assert third.run(CLAIM).row["claims"] == 1


@pytest.mark.parametrize("settle", [ENABLE, CANCEL, DECLINE])
def test_what_is_being_settled_is_not_claimed(
    connect: Connect, db: Connection, settle: LiteralString
) -> None:
    owe(db)
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(settle, "a")
        assert second.run(CLAIM).rows == []
        first.run("commit")
        assert second.run(CLAIM).rows == []


@pytest.mark.parametrize(
    ("settle", "left"), [(ENABLE, (1, 0, False)), (CANCEL, (1, 0, False)), (DECLINE, (0, 1, True))]
)
def test_what_is_being_claimed_is_settled_after_it(
    connect: Connect, db: Connection, settle: LiteralString, left: tuple[int, int, bool]
) -> None:
    owe(db)
    with stepped(connect) as (first, second):
        first.run("begin")
        assert first.run(CLAIM).row["key"] == KEY
        assert second.start(settle, "a")
        first.run("commit")
        assert second.finish().word == "ok"
    assert charges(db) == {left}
    assert unsound(db) == []


def test_what_is_being_claimed_when_settings_change_is_seen_to(
    connect: Connect, db: Connection
) -> None:
    owe(db)
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(CLAIM)
        assert second.start(CHANGE)
        first.run("commit")
        assert second.finish().word == "ok"
    assert charge(db)["due"] is True
    assert settings(db)["waiting_for"] is None


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_decline_on_an_older_snapshot_is_to_be_run_again(
    connect: Connect, db: Connection, level: LiteralString
) -> None:
    owe(db)
    with stepped(connect) as (first, second):
        first.run("begin isolation level " + level)
        first.run("select count(*) from pgledger.accounts")
        assert second.run(DECLINE, "a").word == "ok"
        assert first.run(DECLINE, "a").word == "40001"
    assert charges(db) == {(0, 1, True)}
