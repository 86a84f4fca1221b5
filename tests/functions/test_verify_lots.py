"""Faults planted in lots, draws and reservations, each named by verify."""

import re

import pytest

from tests.functions.test_verify import BALANCE, JOURNAL, PENDING, plant
from tests.support import (
    Ledger,
    ask,
    ask_all,
    day,
    expiries,
    give,
    head,
    in_order,
    left,
    let_pass,
    pool,
    unreckoned,
)

LOTS = "update pgledger.lots set "
DRAWS = "update pgledger.draws set "
RESERVATIONS = "update pgledger.reservations set "


@pytest.fixture
def busy(db: Ledger) -> Ledger:
    """A ledger with some of everything in it: accounts a and to."""
    give(db, "pool", 50)
    give(db, "G", 8, day(0.5))
    give(db, "A", 9, day(2), account_id="to")
    let_pass(db, "0.5 days")
    give(db, "A", 20, day(1))
    give(db, "B", 20, day(2))
    give(db, "late", 20, priority=1)
    give(db, "V", 4, day(3))
    ask(db, "revoke_lot", account_id="a", key="V", reason="test")
    ask(db, "spend", account_id="a", amount=15, key="one")
    ask(db, "spend", account_id="a", amount=10, key="two")
    ask(db, "hold", account_id="a", amount=5, key="h")
    ask(db, "hold", account_id="a", amount=20, key="several")
    ask(db, "hold", account_id="a", amount=1, key="done")
    ask(db, "release", account_id="a", key="done")
    ask(db, "reverse_transaction", account_id="a", original_key="two", amount=7, key="back")
    ask(db, "spend", account_id="to", amount=1)
    # 1 pool, 2 G, 3 its expiry, 4 A, 5 B, 6 late, 7 V, 8 its revocation, 9 one, 10 two, 11 back.
    assert (left(db), pool(db), head(db)) == ({"A": 2, "B": 5, "late": 20}, 50, ("A", 2))
    assert unreckoned(db) == []
    return db


RULES = {
    "moved": "a lot ends when it was granted to, was revoked or is extended",
    "remains": "a lot is what was drawn, has expired, is held and remains",
    "credit": "a lot is of a credit, and at most that credit",
    "below": "nothing of a lot is below 0",
    "expired": "expired is the sum of expiries",
    "ends": "attention_at is not after a lot ends",
    "due": "attention_at is not after what is due",
    "pool": "balance is the pool and the lots",
    "held": "held_in_lots is what holds reserve in lots",
    "head": "the head is first in draw order",
    "left": "head_left is what the head can pay",
    "several": "draws are there where several sources paid",
    "sum": "draws add up to their transaction",
    "debit": "only debits and reversals draw",
    "before": "a lot that paid is there, and was before",
    "expiry": "an expiry is of one lot, from its end on",
    "stray": "a draw is of a lot of a transaction",
    "open": "reservations are there while a hold is open in several sources",
    "hold": "reservations add up to their hold",
    "lots": "a hold reserves in lots that are there",
}
# Each fault, and which rules name it.
FAULTS = [
    (LOTS + "remaining = remaining + 1 where account_id = 'a' and seq = 5", "remains"),
    (LOTS + "remaining = remaining - 1 where account_id = 'a' and seq = 5", "remains"),
    (LOTS + "remaining = 1 where account_id = 'a' and seq = 2", "remains due"),
    (LOTS + "remaining = 1 where account_id = 'a' and seq = 7", "remains due"),
    (LOTS + "amount = amount + 1 where account_id = 'a' and seq = 5", "remains credit pool"),
    (LOTS + "amount = amount + 1 where account_id = 'a' and seq = 4", "remains credit pool"),
    (LOTS + "amount = 9 where account_id = 'a' and seq = 2", "remains credit ends pool head"),
    (LOTS + "expired = 9 where account_id = 'a' and seq = 2", "expired"),
    (LOTS + "expired = 0 where account_id = 'a' and seq = 2", "expired"),
    (LOTS + "expired = 1 where account_id = 'a' and seq = 6", "expired"),
    (LOTS + "priority = -5 where account_id = 'a' and seq = 5", "head"),
    (LOTS + "priority = 2 where account_id = 'a' and seq = 4", "head"),
    (
        LOTS + "expires_at = expires_at + interval '3 days' where account_id = 'a' and seq = 4",
        "head moved",
    ),
    (LOTS + "granted_expires_at = 'infinity' where account_id = 'a' and seq = 4", "moved"),
    (LOTS + "expires_at = '2200-01-01', granted_expires_at = '2200-01-01' where seq = 2", "expiry"),
    (LOTS + "seq = 1 where account_id = 'a' and seq = 5", "remains held stray lots"),
    (LOTS + "seq = 9 where account_id = 'a' and seq = 5", "remains credit held stray lots"),
    (LOTS + "seq = 99 where account_id = 'a' and seq = 5", "remains credit held stray lots"),
    (
        LOTS + "seq = 99 where account_id = 'a' and seq = 2",
        "remains credit expired ends pool head before expiry",
    ),
    ("delete from pgledger.lots where account_id = 'a' and seq = 2", "before expiry"),
    ("delete from pgledger.lots where account_id = 'a' and seq = 4", "pool head before stray"),
    ("delete from pgledger.lots where account_id = 'a' and seq = 5", "pool held stray lots"),
    (
        "insert into pgledger.lots values ('a', 99, 0, '2200-01-01', 0, 0, 0, '2200-01-01')",
        "credit",
    ),
    ("insert into pgledger.lots values ('a', 9, 0, '2200-01-01', 0, 0, 0, '2200-01-01')", "credit"),
    (
        "insert into pgledger.lots values ('a', 1, 0, '2200-01-01', 60, 60, 0, '2200-01-01')",
        "credit pool",
    ),
    (
        "delete from pgledger.draws where account_id = 'a' and seq = 10",
        "remains below pool several",
    ),
    (
        "delete from pgledger.draws where account_id = 'a' and seq = 10 and place = 1",
        "remains pool several sum",
    ),
    ("delete from pgledger.draws where account_id = 'a' and seq = 11", "remains pool head several"),
    (
        DRAWS + "amount = amount + 1 where account_id = 'a' and seq = 10 and place = 1",
        "remains pool sum",
    ),
    (
        DRAWS + "amount = amount - 1 where account_id = 'a' and seq = 11 and place = 2",
        "remains pool sum",
    ),
    (
        DRAWS + "amount = case place when 1 then 4 else 6 end where account_id = 'a' and seq = 10",
        "remains",
    ),
    (DRAWS + "lot = 6 where account_id = 'a' and seq = 10 and place = 2", "remains below"),
    (DRAWS + "lot = null where account_id = 'a' and seq = 10 and place = 2", "remains below pool"),
    (
        DRAWS + "lot = 99 where account_id = 'a' and seq = 10 and place = 2",
        "remains below pool stray",
    ),
    (DRAWS + "seq = 9 where account_id = 'a' and seq = 10", "remains below pool several sum"),
    (DRAWS + "seq = 99 where account_id = 'a' and seq = 10", "remains below pool several stray"),
    ("insert into pgledger.draws values ('a', 9, 1, 4, 15)", "several"),
    ("insert into pgledger.draws values ('a', 10, 3, null, 1)", "sum"),
    (JOURNAL + "lot = null where account_id = 'a' and seq = 9", "remains pool"),
    (JOURNAL + "lot = 5 where account_id = 'a' and seq = 9", "remains below"),
    (JOURNAL + "lot = 99 where account_id = 'a' and seq = 9", "remains pool before"),
    (JOURNAL + "lot = 0 where account_id = 'a' and seq = 9", "remains pool several"),
    (JOURNAL + "lot = null where account_id = 'a' and seq = 10", "remains below pool several"),
    (JOURNAL + "lot = 4 where account_id = 'a' and seq = 10", "remains below head several"),
    (JOURNAL + "lot = 4 where account_id = 'a' and seq = 4", "remains below pool debit before"),
    (
        JOURNAL + "lot = null where account_id = 'a' and seq = 3",
        "remains expired ends pool head expiry",
    ),
    (
        JOURNAL + "lot = 4 where account_id = 'a' and seq = 3",
        "remains below expired ends head before expiry",
    ),
    (
        JOURNAL + "lot = 0 where account_id = 'a' and seq = 3",
        "remains expired ends pool head several expiry",
    ),
    (JOURNAL + "type = 'ADJUSTMENT' where account_id = 'a' and seq = 3", "expired"),
    (
        JOURNAL + "created_at = created_at - interval '1 us' where account_id = 'a' and seq = 3",
        "expiry",
    ),
    (JOURNAL + "lot = 5 where account_id = 'a' and seq = 8", "remains ends head"),
    (BALANCE + "pool = pool + 1 where account_id = 'a'", "pool"),
    (BALANCE + "pool = null where account_id = 'a'", "pool"),
    (BALANCE + "held_in_lots = held_in_lots + 1 where account_id = 'a'", "held"),
    (BALANCE + "held_in_lots = null where account_id = 'a'", "held"),
    (BALANCE + "held_in_lots = 16, pool = 49 where account_id = 'a'", "pool held"),
    (BALANCE + "head_lot = 5 where account_id = 'a'", "remains head"),
    (BALANCE + "head_lot = 99 where account_id = 'a'", "head"),
    (BALANCE + "head_lot = null where account_id = 'a'", "head"),
    (BALANCE + "head_lot = null, head_left = null where account_id = 'a'", "left"),
    (BALANCE + "head_left = 3 where account_id = 'a'", "remains"),
    (BALANCE + "head_left = 1 where account_id = 'a'", "remains"),
    (BALANCE + "head_left = null where account_id = 'a'", "left"),
    (BALANCE + "attention_at = 'infinity' where account_id = 'a'", "ends due"),
    ("delete from pgledger.reservations where account_id = 'a'", "remains held open"),
    ("delete from pgledger.reservations where account_id = 'a' and place = 2", "open hold"),
    (
        RESERVATIONS + "amount = amount + 1 where account_id = 'a' and place = 1",
        "remains held hold",
    ),
    (RESERVATIONS + "amount = 6 + 3 * place where account_id = 'a'", "remains held hold"),
    (RESERVATIONS + "lot = 4 where account_id = 'a' and place = 1", "remains below head"),
    (RESERVATIONS + "lot = 99 where account_id = 'a' and place = 1", "remains held lots"),
    (RESERVATIONS + "lot = 5 where account_id = 'a' and place = 2", "remains below held"),
    (RESERVATIONS + "key = 'h' where account_id = 'a'", "remains held open hold"),
    (RESERVATIONS + "key = 'done' where account_id = 'a'", "remains held open hold lots"),
    (RESERVATIONS + "key = 'nobody' where account_id = 'a'", "remains held open lots"),
    ("insert into pgledger.reservations values ('a', 'h', 1, 5, 5)", "open"),
    ("insert into pgledger.reservations values ('a', 'done', 1, 5, 1)", "open lots"),
    ("insert into pgledger.reservations values ('a', 'nobody', 1, null, 1)", "open lots"),
    (PENDING + "lot = null where key = 'h'", "remains held"),
    (PENDING + "lot = 4 where key = 'h'", "remains below head"),
    (PENDING + "lot = 0 where key = 'h'", "remains held open"),
    (PENDING + "lot = 99 where key = 'h'", "remains held lots"),
    (PENDING + "lot = null where key = 'several'", "remains held open lots"),
    (PENDING + "lot = 5 where key = 'several'", "remains below held open"),
]


@pytest.mark.parametrize(("fault", "named"), FAULTS)
def test_a_planted_fault_is_named(busy: Ledger, fault: str, named: str) -> None:
    plant(busy, fault)
    found = ask_all(busy, "verify")
    assert {row["rule"] for row in found} == {RULES[name] for name in named.split()}
    assert {row["account_id"] for row in found} == {"a"}
    for row in found:
        assert row["expected"] is not None
        assert row["found"] is not None
    assert ask_all(busy, "verify", account_id="a") == found
    assert ask_all(busy, "verify", account_id="to") == []


def test_every_rule_of_lots_is_broken_by_some_fault(db: Ledger) -> None:
    named = {name for _, names in FAULTS for name in names.split()}
    assert named == RULES.keys()
    found = db.execute(
        "select string_agg(pg_get_functiondef(p.oid), '') as bodies from pg_proc p where p.proname"
        " in ('_verify_lots', '_verify_draws', '_verify_pool', '_verify_reservations')"
    ).fetchall()
    rules = re.findall(r"\('([^']+)'::text,|SELECT '([^']+)'::text", found[0]["bodies"])
    assert {one or other for one, other in rules} == set(RULES.values()) - {RULES["due"]}


@pytest.mark.parametrize("type_", ["EXPIRY", "REFUND", "REVERSAL", "TRANSFER"])
def test_a_lot_of_any_type_ends_without_a_complaint(db: Ledger, type_: str) -> None:
    given = {"account_id": "a", "amount": 10, "type": type_, "expires_at": day(1)}
    ask(db, "add_transaction", **given, key="revoked")
    ask(db, "add_transaction", **given, key="expired")
    ask(db, "revoke_lot", account_id="a", key="revoked")
    let_pass(db, "2 days")
    ask(db, "top_up", account_id="a", amount=1)
    assert expiries(db)
    assert in_order(db)
