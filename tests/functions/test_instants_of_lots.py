"""A lot ends at its instant to the microsecond, for every reader and writer, also in the past."""

from datetime import datetime, timedelta
from typing import LiteralString

import pytest

from tests.functions.test_expiry_of_lots import instants
from tests.support import (
    Ledger,
    ask,
    day,
    expiries,
    give,
    let_expire,
    let_pass,
    paid,
    refused,
    unreckoned,
    value,
)

TICK = timedelta(microseconds=1)


READS: list[LiteralString] = [
    "select pgledger.get_credits('a') as n",
    "select available as n from pgledger.get_balance('a')",
    "select balance as n from pgledger.get_balance('a')",
    "select case when pgledger.check_credits('a', 15) then 15 else 5 end as n",
    "select pgledger.balance_at('a', statement_timestamp()) as n",
    "select 5 + coalesce(sum(remaining), 0)::bigint as n from pgledger.lots('a')",
    "select 15 - sum(expired)::bigint as n from pgledger.lots('a')",
    "select 5 + coalesce(next_expiry_amount, 0) as n from pgledger.get_balance('a')",
    "select 5 + coalesce(sum(amount), 0)::bigint as n from pgledger.expiring('a')",
    "select amount as n from pgledger.explain_balance('a') where item = 'balance'",
    "select amount as n from pgledger.explain_balance('a') where item = 'available'",
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(("ticks", "expected"), [(-1, 5), (0, 5), (1, 15)])
def test_a_lot_expires_exactly_at_its_instant_for_every_reader(
    db: Ledger, read: LiteralString, ticks: int, expected: int
) -> None:
    give(db, "pool", 5)
    give(db, "A", 10, day(1))
    # The statements of one message share the instant at which it came.
    cursor = db.execute(
        "update pgledger.lots"
        f" set expires_at = statement_timestamp() + interval '{ticks} microseconds';"
        " update pgledger.balances set attention_at = (select expires_at from pgledger.lots);"
        f" {read}"
    )
    while cursor.nextset():
        pass
    assert cursor.fetchall() == [{"n": expected}]


@pytest.mark.parametrize("ticks", [-1, 0, 1])
def test_a_lot_expires_exactly_at_its_instant_for_every_writer(db: Ledger, ticks: int) -> None:
    give(db, "pool", 5)
    give(db, "A", 10, day(1))
    # A journal that reaches into the future keeps its order, so this is when the next write is.
    at = day(2)
    db.execute(
        "update pgledger.lots set expires_at = %(end)s, granted_expires_at = %(end)s",
        {"end": at + ticks * TICK},
    )
    db.execute("update pgledger.balances set updated_at = %s, attention_at = '2000-01-01'", [at])
    row = ask(db, "spend", account_id="a", amount=12, key="s", raise_refusals=False)
    if ticks > 0:
        assert (row["status"], row["created_at"], paid(db, "s")) == (
            "POSTED",
            at,
            [("A", 10), (None, 2)],
        )
    else:
        assert (row["refusal"], row["balance"], row["available"]) == ("LG001", 5, 5)
        # The journal is in order of time, so nothing is posted before what is there.
        assert expiries(db) == [("A", 10, at)]
        assert ask(db, "spend", account_id="a", amount=5)["created_at"] == at
    refused(db, "22023", "grant_credits", account_id="a", amount=1, expires_at=at)
    assert give(db, "B", 1, at + TICK)["created_at"] == at
    assert unreckoned(db) == []


AT_EXPIRY = """
create function pg_temp.act_at_expiry(act text, rounds int) returns void
language plpgsql
as $$
begin
  for v_round in 1..rounds loop
    begin
      perform pgledger.grant_credits('a', 3, expires_at =>
        clock_timestamp() + (50 + v_round % 400) * interval '1 microsecond');
      execute act;
    exception when sqlstate 'LG001' or invalid_parameter_value then
      null;
    end;
  end loop;
end
$$;
"""


@pytest.mark.parametrize(
    "act",
    [
        "select pgledger.spend('a', 2)",
        "select pgledger.spend('a', 4, shortfall => 'PARTIAL')",
        "select pgledger.add_transaction('a', -2, 'USAGE', fail_insufficient_credits => false)",
        "select pgledger.capture('a', (pgledger.hold('a', 2)).key)",
    ],
    ids=["spend", "spend slowly", "force", "hold and capture"],
)
def test_nothing_is_drawn_from_a_lot_at_its_instant_or_later(db: Ledger, act: str) -> None:
    # The lot expires between any two statements of the call, somewhere in these rounds.
    db.execute(AT_EXPIRY)
    give(db, "pool", 5000)
    db.execute("select pg_temp.act_at_expiry(%s, 800)", [act])
    late = db.execute(
        "select t.seq, l.seq as lot from pgledger.transactions t"
        " join pgledger.transaction_draws d using (account_id, seq)"
        " join pgledger.lots l on l.account_id = t.account_id and l.seq = d.lot"
        " left join pgledger.pending_transactions p"
        " on p.account_id = t.account_id and p.key = t.key"
        " where t.type = 'USAGE' and coalesce(p.created_at, t.created_at) >= l.expires_at"
    ).fetchall()
    assert late == []
    ask(db, "run_due")
    assert instants(db) == sorted(instants(db))
    assert unreckoned(db) == []


def test_a_lot_expires_between_two_statements_of_one_transaction(db: Ledger) -> None:
    with db.transaction():
        give(db, "pool", 5)
        (row,) = db.execute("select clock_timestamp() + interval '500 ms' as at").fetchall()
        give(db, "A", 10, row["at"])
        ask(db, "spend", account_id="a", amount=1, key="s")
        while not is_over(db, row["at"]):
            pass
        assert value(db, "get_credits", account_id="a") == 5
        assert ask(db, "spend", account_id="a", amount=9, raise_refusals=False)["available"] == 5
    assert expiries(db) == [("A", 9, row["at"])]
    assert paid(db, "s") == [("A", 1)]
    assert unreckoned(db) == []


def is_over(db: Ledger, at: datetime) -> bool:
    (row,) = db.execute("select clock_timestamp() >= %s as over", [at]).fetchall()
    return bool(row["over"])


def past(db: Ledger, points: list[datetime]) -> list[int]:
    return [value(db, "balance_at", account_id="a", at=at) for at in points]


def test_balances_of_the_past_are_exact_before_and_after_it_is_posted(db: Ledger) -> None:
    give(db, "pool", 1)
    give(db, "A", 10, day(1))
    give(db, "B", 100, day(2))
    give(db, "C", 1000, day(2))
    give(db, "D", 10_000, day(9))
    ask(db, "hold", account_id="a", amount=4, key="h", expires_at=day(3))
    let_pass(db, "4 days")
    around = [day(n) + ticks * TICK for n in (-3, -2, -1) for ticks in (-1, 0, 1)]
    points = [*around, day(0)]
    expected = [11_111, 11_105, 11_105, 11_105, 10_005, 10_005, 10_005, 10_001, 10_001, 10_001]
    assert past(db, points) == expected
    ask(db, "run_due")
    assert expiries(db) == [
        ("A", 6, day(-3)),
        ("B", 100, day(-2)),
        ("C", 1000, day(-2)),
        ("A", 4, day(-1)),
    ]
    assert past(db, points) == expected
    let_expire_again(db)
    assert unreckoned(db) == []


def let_expire_again(db: Ledger) -> None:
    """A hold that is made and expires now does not change what was."""
    ask(db, "hold", account_id="a", amount=1, key="again", expires_at=day(9))
    let_expire(db, "again", before="0 s")
    ask(db, "run_due")
