"""Refills and spending caps under several connections at once: one grant a period, no spend beyond.

As in test_concurrency: rounds that came out wrong are counted, and there are none.
"""

from typing import LiteralString

import pytest

from tests.races import ROUNDS, for_each_account, unsound, words, wrong_rounds
from tests.sessions import Call, Connect, Connection, stepped
from tests.support import ask

SPEND: LiteralString = "select * from pgledger.spend(%s, %s)"
TOP_UP: LiteralString = "select * from pgledger.top_up(%s, 1)"
RUN_ONE_DUE: LiteralString = "select pgledger.run_due(1)"
REVERSE: LiteralString = "select * from pgledger.reverse_transaction(%s, 's', 4, %s)"

# The plan's first period is still to come; then it has, as if the clock had moved.
ON_A_PLAN: LiteralString = (
    "pgledger.assign_plan((pgledger.open_account(account)).account_id, 'pro',"
    " clock_timestamp() + interval '1 hour')"
)
BEGUN = """
update pgledger.account_plans set starts_at = n.at, refill_at = n.at
from (select clock_timestamp() as at) n;
update pgledger.balances set attention_at = n.at from (select clock_timestamp() as at) n;
"""


def grants(db: Connection) -> dict[str, list[int]]:
    """What was granted, per account, in order."""
    found = db.execute(
        "select account_id, array_agg(amount order by seq) as amounts from pgledger.transactions"
        " where type = 'GRANT' group by 1"
    ).fetchall()
    return {row["account_id"]: row["amounts"] for row in found}


@pytest.fixture(params=["ADD", "TOP_UP_TO", "RESET"])
def due(request: pytest.FixtureRequest, db: Connection) -> Connection:
    """An account for each round on which a refill of 100 has just fallen due."""
    terms = {"period": "1 day", "anchor": "ACCOUNT", "policy": request.param}
    ask(db, "create_plan", code="pro", amount=100, **terms)
    for_each_account(db, ROUNDS, ON_A_PLAN)
    db.execute(BEGUN)
    return db


def test_a_refill_from_four_connections_is_one_grant(connect: Connect, due: Connection) -> None:
    def calls(number: int) -> list[Call]:
        return [(SPEND, [f"r{number}", 60])] * 4

    expected = {"ok": 1, "LG001": 3}
    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == expected) == []
    assert grants(due) == {f"r{n}": [100] for n in range(ROUNDS)}
    assert unsound(due) == []


def test_run_due_from_four_connections_refills_once(connect: Connect, due: Connection) -> None:
    def calls(number: int) -> list[Call]:
        return [(RUN_ONE_DUE, []), (RUN_ONE_DUE, []), (RUN_ONE_DUE, []), (TOP_UP, [f"r{number}"])]

    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == {"ok": 4}) == []
    while due.execute("select pgledger.run_due(1000) as n").fetchall()[0]["n"]:
        pass
    granted = grants(due)
    assert granted.keys() == {f"r{n}" for n in range(ROUNDS)}
    assert {amount for amounts in granted.values() for amount in amounts} <= {100}
    assert {len(amounts) for amounts in granted.values()} == {1}
    assert unsound(due) == []


def test_spends_from_four_connections_stay_within_the_cap(connect: Connect, db: Connection) -> None:
    for_each_account(db, ROUNDS, "pgledger.top_up(account, 100)")
    for_each_account(db, ROUNDS, "pgledger.set_spending_cap(account, 10, '1 year')")

    def calls(number: int) -> list[Call]:
        return [(SPEND, [f"r{number}", 4])] * 4

    expected = {"ok": 2, "LG008": 2}
    assert wrong_rounds(connect, calls, lambda _, round_: words(round_) == expected) == []
    assert unsound(db) == []


def test_reversals_beside_spends_give_the_cap_its_room_back(
    connect: Connect, db: Connection
) -> None:
    for_each_account(db, ROUNDS, "pgledger.top_up(account, 100)")
    for_each_account(db, ROUNDS, "pgledger.set_spending_cap(account, 12, '1 year')")
    for_each_account(db, ROUNDS, "pgledger.spend(account, 8, 's')")

    def calls(number: int) -> list[Call]:
        account = f"r{number}"
        spends = [(SPEND, [account, 4])] * 2
        return [*spends, (REVERSE, [account, "v1"]), (REVERSE, [account, "v2"])]

    # 4 are left, and 8 come back: the first spend always fits, the second where something did.
    outcomes = wrong_rounds(
        connect, calls, lambda _, round_: words(round_) in ({"ok": 4}, {"ok": 3, "LG008": 1})
    )
    assert outcomes == []
    left = db.execute(
        "select b.account_id from pgledger.balances b"
        " where b.cap_left <> 12 + (select sum(t.amount) from pgledger.transactions t"
        "   where t.account_id = b.account_id and t.type in ('USAGE', 'REVERSAL'))"
    ).fetchall()
    assert left == []
    assert unsound(db) == []


@pytest.mark.parametrize("lots", [{}, {"expires_at": "2200-01-01"}])
def test_a_capture_that_comes_too_late_takes_back_all_it_did(
    connect: Connect, db: Connection, lots: dict[str, str]
) -> None:
    ask(db, "grant_credits", account_id="a", amount=20, **lots)
    # Lots after the pool, so that what the pool and the head have left is kept either way.
    ask(db, "grant_credits", account_id="a", amount=5, priority=1)
    ask(db, "set_spending_cap", account_id="a", amount=50, period="1 year")
    ask(db, "hold", account_id="a", amount=6, key="h")
    ask(db, "hold", account_id="a", amount=7, key="stays")
    held = db.execute("select * from pgledger.balances").fetchall()[0]
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run("select * from pgledger.release('a', 'h')")
        assert second.start("select * from pgledger.capture('a', 'h', 4, raise_refusals => false)")
        first.run("commit")
        assert second.finish().word == "LG007"
    row = db.execute("select * from pgledger.balances").fetchall()[0]
    assert (row["head_left"], row["held"], row["cap_left"]) == (held["head_left"] + 6, 7, 50)
    assert (row["pool"], row["head_lot"], row["seq"]) == (held["pool"], held["head_lot"], 2)
    assert unsound(db) == []
