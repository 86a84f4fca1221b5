"""Priced usage under four connections at once; rounds that came out wrong are counted."""

from typing import LiteralString

import pytest

from tests.prices import set_price
from tests.races import ROUNDS, balances, for_each_account, unsound, words, wrong_rounds
from tests.sessions import Call, Connect, Connection, Outcome

SPEND: LiteralString = "select * from pgledger.spend_usage(%s, 'm', %s, %s)"
IN_30: LiteralString = '{"in": 30}'
IN_40: LiteralString = '{"in": 40}'


@pytest.fixture
def db(connect: Connect) -> Connection:
    """A ledger in which one unit of m costs one credit; accounts with 100 credits."""
    connection = connect()
    set_price(connection, "m", {"in": 1})
    for_each_account(connection, ROUNDS, "pgledger.grant_credits(account, 100)")
    return connection


def test_usage_spent_at_once_is_not_overspent(connect: Connect, db: Connection) -> None:
    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 3, "LG001": 1}

    def calls(n: int) -> list[Call]:
        return [(SPEND, (f"r{n}", IN_30, None)) for _ in range(4)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) == {10}
    assert unsound(db) == []


def test_one_key_spends_usage_once(connect: Connect, db: Connection) -> None:
    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 1, "replayed": 3}

    def calls(n: int) -> list[Call]:
        return [(SPEND, (f"r{n}", IN_30, "k")) for _ in range(4)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) == {70}
    assert unsound(db) == []


def test_one_key_is_of_one_usage(connect: Connect, db: Connection) -> None:
    set_price(db, "n", {"in": 1})

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 1, "replayed": 1, "LG002": 2}

    def calls(n: int) -> list[Call]:
        return [(SPEND, (f"r{n}", quantities, "k")) for quantities in (IN_30, IN_40) * 2]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) <= {70, 60}
    assert unsound(db) == []


def test_a_price_that_changes_meanwhile_charges_a_key_once(
    connect: Connect, db: Connection
) -> None:
    change: LiteralString = "select * from pgledger.set_price('m', %s)"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        charged = {outcome.row["amount"] for outcome in round_ if "amount" in outcome.row}
        return words(round_) == {"ok": 2, "replayed": 2} and charged in ({-30}, {-60})

    def calls(n: int) -> list[Call]:
        spends: list[Call] = [(SPEND, (f"r{n}", IN_30, "k")) for _ in range(3)]
        return [*spends, (change, (f'{{"in": {1 + n % 2}}}',))]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) <= {70, 40}
    assert unsound(db) == []


def test_what_costs_nothing_is_counted_without_a_gap(connect: Connect, db: Connection) -> None:
    free: LiteralString = '{"in": 0}'

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 3, "replayed": 1}

    def calls(n: int) -> list[Call]:
        keyed: list[Call] = [(SPEND, (f"r{n}", free, "k")) for _ in range(2)]
        return [*keyed, (SPEND, (f"r{n}", free, None)), (SPEND, (f"r{n}", IN_30, None))]

    assert wrong_rounds(connect, calls, is_right) == []
    counted = db.execute("select distinct seq from pgledger.balances").fetchall()
    assert counted == [{"seq": 4}]
    assert unsound(db) == []


# Holds of usage

CAPTURE: LiteralString = "select * from pgledger.capture_usage(%s, 'h', %s)"
CAPTURE_SLOWLY: LiteralString = (
    "select * from pgledger.capture_usage(%s, 'h', %s, metadata => '{}')"
)
RELEASE: LiteralString = "select * from pgledger.release(%s, 'h')"
PLAIN: LiteralString = "select * from pgledger.spend(%s, 30)"
BOTH = pytest.mark.parametrize("capture", [CAPTURE, CAPTURE_SLOWLY], ids=["fast", "slow"])


def hold_60(db: Connection) -> None:
    for_each_account(db, ROUNDS, "pgledger.hold_usage(account, 'm', '{\"in\": 60}', 'h')")


def test_an_estimate_is_held_once(connect: Connect, db: Connection) -> None:
    hold: LiteralString = "select * from pgledger.hold_usage(%s, 'm', %s, 'h')"

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 1, "replayed": 2, "LG002": 1} or words(round_) == {
            "ok": 1,
            "LG002": 3,
        }

    def calls(n: int) -> list[Call]:
        return [(hold, (f"r{n}", quantities)) for quantities in (IN_30, IN_30, IN_30, IN_40)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert unsound(db) == []


@BOTH
@pytest.mark.parametrize(("quantity", "left"), [(30, 70), (60, 40), (90, 10)])
def test_usage_is_captured_once(
    connect: Connect, db: Connection, capture: LiteralString, quantity: int, left: int
) -> None:
    hold_60(db)

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 1, "replayed": 3}

    def calls(n: int) -> list[Call]:
        return [(capture, (f"r{n}", f'{{"in": {quantity}}}')) for _ in range(4)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) == {left}
    assert unsound(db) == []


@BOTH
def test_one_of_two_usages_is_captured(
    connect: Connect, db: Connection, capture: LiteralString
) -> None:
    hold_60(db)

    def is_right(_: int, round_: list[Outcome]) -> bool:
        return words(round_) == {"ok": 1, "replayed": 1, "LG002": 2}

    def calls(n: int) -> list[Call]:
        return [(capture, (f"r{n}", f'{{"in": {quantity}}}')) for quantity in (30, 90, 30, 90)]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) <= {70, 10}
    assert unsound(db) == []


@BOTH
@pytest.mark.parametrize("quantity", [0, 30, 90])
def test_a_hold_of_usage_is_captured_or_released(
    connect: Connect, db: Connection, capture: LiteralString, quantity: int
) -> None:
    hold_60(db)

    def is_right(_: int, round_: list[Outcome]) -> bool:
        # What is released before it costs nothing is not known to have cost nothing.
        captured = {"ok": 1, "replayed": 1, "LG007": 2}
        released = {"ok": 1, "replayed": 3} if quantity == 0 else captured
        return words(round_) in (captured, released)

    def calls(n: int) -> list[Call]:
        usage: Call = (capture, (f"r{n}", f'{{"in": {quantity}}}'))
        return [usage, usage, (RELEASE, (f"r{n}",)), (RELEASE, (f"r{n}",))]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) <= {100, 100 - quantity}
    assert unsound(db) == []


@BOTH
def test_what_is_above_a_hold_is_not_spent_twice(
    connect: Connect, db: Connection, capture: LiteralString
) -> None:
    hold_60(db)

    def is_right(_: int, round_: list[Outcome]) -> bool:
        # 40 are free: the 30 above the hold are, or the 30 of another spend.
        return words(round_) in ({"ok": 1, "LG001": 2}, {"ok": 1, "replayed": 1, "LG001": 1})

    def calls(n: int) -> list[Call]:
        usage: Call = (capture, (f"r{n}", '{"in": 90}'))
        return [usage, (PLAIN, (f"r{n}",)), usage]

    assert wrong_rounds(connect, calls, is_right) == []
    assert set(balances(db).values()) <= {70, 10}
    assert unsound(db) == []
