"""Refunds, disputes and their payment told at once: in either order the same comes out.

Races are forced: one session has done its part and not committed, the other one waits for it.
"""

from typing import LiteralString

import pytest

from tests.races import ROUNDS, unsound, words, wrong_rounds
from tests.returns import pay, takes
from tests.sessions import (
    SNAPSHOT_LEVELS,
    Call,
    Connect,
    Connection,
    Outcome,
    Session,
    begin,
    stepped,
)
from tests.support import ask, events, posted

PAY: LiteralString = """
select * from pgledger.record_payment(
  'stripe', 'pi_1', 'SUCCEEDED', 'a', amount => 100, paid => 1000, currency => 'usd')"""
REFUND: LiteralString = """
select * from pgledger.record_payment_refund('stripe', 're_1', 'pi_1', 600, 'SUCCEEDED')"""
MORE: LiteralString = """
select * from pgledger.record_payment_refund('stripe', 're_2', 'pi_1', 600, 'SUCCEEDED')"""
FAILED: LiteralString = """
select * from pgledger.record_payment_refund('stripe', 're_1', 'pi_1', 600, 'FAILED')"""
OWN: LiteralString = "select * from pgledger.refund('a', '#1', 60, external_id => 're_1')"
OWN_REST: LiteralString = "select * from pgledger.refund('a', '#1', 60)"
LOST: LiteralString = """
select * from pgledger.record_dispute('stripe', 'dp_1', 'pi_1', 1000, 'LOST', 'FLAG')"""
OPEN: LiteralString = "select * from pgledger.record_dispute('stripe', 'dp_1', 'pi_1', 9, 'OPEN')"
WON: LiteralString = "select * from pgledger.record_dispute('stripe', 'dp_1', 'pi_1', 9, 'WON')"
OTHER_OPEN: LiteralString = (
    "select * from pgledger.record_dispute('stripe', 'dp_2', 'pi_2', 9, 'OPEN')"
)
OTHER_WON: LiteralString = (
    "select * from pgledger.record_dispute('stripe', 'dp_2', 'pi_2', 9, 'WON')"
)
FREEZE: LiteralString = "select * from pgledger.set_account_status('a', 'FROZEN')"
CLOSE: LiteralString = "select * from pgledger.set_account_status('a', 'CLOSED')"


def one_waits(first: Session, second: Session, call: LiteralString, other: LiteralString) -> str:
    """Let the second session call while the first one has called and not committed."""
    first.run("begin")
    first.run(call)
    assert second.start(other), "it did not wait"
    first.run("commit")
    return second.finish().word


@pytest.mark.parametrize(
    ("calls", "amounts"),
    [
        ((REFUND, LOST), [-60, -40]),
        ((LOST, REFUND), [-100]),
        ((REFUND, REFUND), [-60]),
        ((REFUND, MORE), [-60, -40]),
        ((REFUND, FAILED), [-60, 60]),
        ((FAILED, REFUND), []),
        # The application's own refund, in either order.
        ((OWN, REFUND), [-60]),
        ((REFUND, OWN), [-60]),
        ((OWN, LOST), [-60, -40]),
        ((OWN_REST, REFUND), [-60, -40]),
        ((OWN, FAILED), [-60, 60]),
    ],
)
def test_of_two_at_once_the_second_sees_what_the_first_took(
    connect: Connect,
    db: Connection,
    calls: tuple[LiteralString, LiteralString],
    amounts: list[int],
) -> None:
    pay(db)
    with stepped(connect) as (first, second):
        assert one_waits(first, second, *calls) in {"ok", "replayed"}
    assert posted(db, "a") == [100, *amounts]
    assert unsound(db) == []


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize(
    ("calls", "taken"),
    [((PAY, REFUND), 60), ((REFUND, PAY), 60), ((PAY, LOST), 100), ((LOST, PAY), 100)],
)
def test_a_return_and_the_success_of_its_payment_at_once(
    connect: Connect,
    db: Connection,
    calls: tuple[LiteralString, LiteralString],
    taken: int,
    is_known: bool,  # noqa: FBT001 - a row of the table above
) -> None:
    if is_known:
        db.execute("select pgledger.record_payment('stripe', 'pi_1', 'PROCESSING')")
    with stepped(connect) as (first, second):
        assert one_waits(first, second, *calls) == "ok"
    assert posted(db, "a") == [100, -taken]
    assert list(takes(db).values()) == [taken]
    assert unsound(db) == []


def test_what_the_first_took_back_the_second_takes(connect: Connect, db: Connection) -> None:
    pay(db)
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(REFUND)
        assert second.start(REFUND)
        first.run("rollback")
        assert second.finish().word == "ok"
    assert posted(db, "a") == [100, -60]
    assert unsound(db) == []


@pytest.mark.parametrize("level", SNAPSHOT_LEVELS)
def test_a_conflict_surfaces_and_takes_nothing(
    connect: Connect, db: Connection, level: LiteralString
) -> None:
    pay(db)
    with stepped(connect) as (first, second):
        begin(second, level)
        first.run(REFUND)
        assert second.run(LOST).word == "40001"
        second.run("rollback")
    assert posted(db, "a") == [100, -60]
    assert unsound(db) == []


# Freezing


def frozen(db: Connection) -> bool:
    (row,) = db.execute("select status::text from pgledger.accounts where account_id = 'a'")
    return bool(row["status"] == "FROZEN")


@pytest.mark.parametrize(
    ("before", "calls", "is_frozen"),
    [
        ([OPEN, OTHER_OPEN], (WON, OTHER_WON), False),
        ([OPEN], (WON, OTHER_OPEN), True),
        ([OPEN], (OTHER_OPEN, WON), True),
        ([OPEN], (FREEZE, WON), True),
        ([OPEN], (WON, FREEZE), True),
        ([], (FREEZE, OPEN), True),
        ([], (OPEN, OTHER_OPEN), True),
    ],
)
def test_disputes_of_two_payments_at_once_agree_on_the_account(
    connect: Connect,
    db: Connection,
    before: list[LiteralString],
    calls: tuple[LiteralString, LiteralString],
    is_frozen: bool,  # noqa: FBT001 - a row of the table above
) -> None:
    pay(db)
    pay(db, "pi_2")
    for call in before:
        db.execute(call)
    with stepped(connect) as (first, second):
        assert one_waits(first, second, *calls) == "ok"
    assert frozen(db) == is_frozen
    assert unsound(db) == []


def test_a_dispute_that_joined_keeps_it_frozen(connect: Connect, db: Connection) -> None:
    pay(db)
    pay(db, "pi_2")
    with stepped(connect) as (first, second):
        assert one_waits(first, second, OPEN, OTHER_OPEN) == "ok"
    db.execute(WON)
    assert frozen(db)
    db.execute(OTHER_WON)
    assert not frozen(db)


def test_an_account_that_is_being_closed_is_not_debited(connect: Connect, db: Connection) -> None:
    pay(db)
    ask(db, "spend", account_id="a", amount=100)
    with stepped(connect) as (first, second):
        assert one_waits(first, second, CLOSE, REFUND) == "ok"
    assert posted(db, "a") == [100, -100]
    assert unsound(db) == []


def test_an_opened_dispute_is_told_once(connect: Connect, db: Connection) -> None:
    pay(db)
    with stepped(connect) as (first, second):
        assert one_waits(first, second, OPEN, WON) == "ok"
    assert [kind for kind, _ in events(db)][1:] == ["dispute_opened", "account_frozen"]


# From many connections

PAY_ONE: LiteralString = """
select * from pgledger.record_payment(
  'stripe', %s, 'SUCCEEDED', %s, amount => 10, paid => 100, currency => 'usd')"""
REFUND_ONE: LiteralString = """
select * from pgledger.record_payment_refund('stripe', %s, %s, 60, 'SUCCEEDED')"""
LOSE_ONE: LiteralString = """
select * from pgledger.record_dispute('stripe', %s, %s, 70, 'LOST', 'FLAG')"""


def test_whatever_comes_at_once_takes_at_most_what_was_paid(
    connect: Connect, db: Connection
) -> None:
    def calls(number: int) -> list[Call]:
        return [
            (PAY_ONE, [f"pi{number}", f"r{number}"]),
            (REFUND_ONE, [f"re{number}", f"pi{number}"]),
            (REFUND_ONE, [f"re{number}", f"pi{number}"]),
            (LOSE_ONE, [f"dp{number}", f"pi{number}"]),
        ]

    def is_right(number: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 4} and sum(posted(db, f"r{number}")) == 0

    assert wrong_rounds(connect, calls, is_right) == []
    assert unsound(db) == []


def test_a_refund_and_a_spend_at_once_agree(connect: Connect, db: Connection) -> None:
    for number in range(ROUNDS):
        pay(db, f"pi{number}", account_id=f"r{number}", amount=10, paid=100)

    def calls(number: int) -> list[Call]:
        return [
            ("select * from pgledger.spend(%s, 6)", [f"r{number}"]),
            (REFUND_ONE, [f"re{number}", f"pi{number}"]),
        ]

    def is_right(number: int, round_: list[Outcome]) -> bool:
        spent = round_[0].word == "ok"
        return round_[1].word == "ok" and sum(posted(db, f"r{number}")) == (-2 if spent else 4)

    assert wrong_rounds(connect, calls, is_right) == []
    assert unsound(db) == []
