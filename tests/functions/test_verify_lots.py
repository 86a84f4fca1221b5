"""Faults planted in lots, draws and reservations, each named by verify."""

import pytest

from tests.functions.test_verify import BALANCE, JOURNAL, PENDING, plant
from tests.support import Ledger, ask, ask_all, day, give, head, left, let_pass, pool, unreckoned

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


FAULTS = [
    LOTS + "remaining = remaining + 1 where account_id = 'a' and seq = 5",
    LOTS + "remaining = remaining - 1 where account_id = 'a' and seq = 5",
    LOTS + "remaining = 1 where account_id = 'a' and seq = 2",
    LOTS + "remaining = 1 where account_id = 'a' and seq = 7",
    LOTS + "amount = amount + 1 where account_id = 'a' and seq = 5",
    LOTS + "amount = amount + 1 where account_id = 'a' and seq = 4",
    LOTS + "amount = 9 where account_id = 'a' and seq = 2",
    LOTS + "expired = 9 where account_id = 'a' and seq = 2",
    LOTS + "expired = 0 where account_id = 'a' and seq = 2",
    LOTS + "expired = 1 where account_id = 'a' and seq = 6",
    LOTS + "priority = -5 where account_id = 'a' and seq = 5",
    LOTS + "priority = 2 where account_id = 'a' and seq = 4",
    LOTS + "expires_at = expires_at + interval '3 days' where account_id = 'a' and seq = 4",
    LOTS + "expires_at = '2200-01-01', granted_expires_at = '2200-01-01' where seq = 2",
    LOTS + "seq = 1 where account_id = 'a' and seq = 5",
    LOTS + "seq = 9 where account_id = 'a' and seq = 5",
    LOTS + "seq = 99 where account_id = 'a' and seq = 5",
    LOTS + "seq = 99 where account_id = 'a' and seq = 2",
    "delete from pgledger.lots where account_id = 'a' and seq = 2",
    "delete from pgledger.lots where account_id = 'a' and seq = 4",
    "delete from pgledger.lots where account_id = 'a' and seq = 5",
    "insert into pgledger.lots values ('a', 99, 0, '2200-01-01', 0, 0, 0, '2200-01-01')",
    "insert into pgledger.lots values ('a', 9, 0, '2200-01-01', 0, 0, 0, '2200-01-01')",
    "insert into pgledger.lots values ('a', 1, 0, '2200-01-01', 60, 60, 0, '2200-01-01')",
    "delete from pgledger.draws where account_id = 'a' and seq = 10",
    "delete from pgledger.draws where account_id = 'a' and seq = 10 and place = 1",
    "delete from pgledger.draws where account_id = 'a' and seq = 11",
    DRAWS + "amount = amount + 1 where account_id = 'a' and seq = 10 and place = 1",
    DRAWS + "amount = amount - 1 where account_id = 'a' and seq = 11 and place = 2",
    DRAWS + "amount = case place when 1 then 4 else 6 end where account_id = 'a' and seq = 10",
    DRAWS + "lot = 6 where account_id = 'a' and seq = 10 and place = 2",
    DRAWS + "lot = null where account_id = 'a' and seq = 10 and place = 2",
    DRAWS + "lot = 99 where account_id = 'a' and seq = 10 and place = 2",
    DRAWS + "seq = 9 where account_id = 'a' and seq = 10",
    DRAWS + "seq = 99 where account_id = 'a' and seq = 10",
    "insert into pgledger.draws values ('a', 9, 1, 4, 15)",
    "insert into pgledger.draws values ('a', 10, 3, null, 1)",
    JOURNAL + "lot = null where account_id = 'a' and seq = 9",
    JOURNAL + "lot = 5 where account_id = 'a' and seq = 9",
    JOURNAL + "lot = 99 where account_id = 'a' and seq = 9",
    JOURNAL + "lot = 0 where account_id = 'a' and seq = 9",
    JOURNAL + "lot = null where account_id = 'a' and seq = 10",
    JOURNAL + "lot = 4 where account_id = 'a' and seq = 10",
    JOURNAL + "lot = 4 where account_id = 'a' and seq = 4",
    JOURNAL + "lot = null where account_id = 'a' and seq = 3",
    JOURNAL + "lot = 4 where account_id = 'a' and seq = 3",
    JOURNAL + "lot = 0 where account_id = 'a' and seq = 3",
    JOURNAL + "type = 'ADJUSTMENT' where account_id = 'a' and seq = 3",
    JOURNAL + "created_at = created_at - interval '1 us' where account_id = 'a' and seq = 3",
    JOURNAL + "lot = 5 where account_id = 'a' and seq = 8",
    BALANCE + "pool = pool + 1 where account_id = 'a'",
    BALANCE + "pool = null where account_id = 'a'",
    BALANCE + "held_in_lots = held_in_lots + 1 where account_id = 'a'",
    BALANCE + "held_in_lots = null where account_id = 'a'",
    BALANCE + "held_in_lots = 16, pool = 49 where account_id = 'a'",
    BALANCE + "head_lot = 5 where account_id = 'a'",
    BALANCE + "head_lot = 99 where account_id = 'a'",
    BALANCE + "head_lot = null where account_id = 'a'",
    BALANCE + "head_lot = null, head_left = null where account_id = 'a'",
    BALANCE + "head_left = 3 where account_id = 'a'",
    BALANCE + "head_left = 1 where account_id = 'a'",
    BALANCE + "head_left = null where account_id = 'a'",
    BALANCE + "attention_at = 'infinity' where account_id = 'a'",
    "delete from pgledger.reservations where account_id = 'a'",
    "delete from pgledger.reservations where account_id = 'a' and place = 2",
    RESERVATIONS + "amount = amount + 1 where account_id = 'a' and place = 1",
    RESERVATIONS + "amount = 6 + 3 * place where account_id = 'a'",
    RESERVATIONS + "lot = 4 where account_id = 'a' and place = 1",
    RESERVATIONS + "lot = 99 where account_id = 'a' and place = 1",
    RESERVATIONS + "lot = 5 where account_id = 'a' and place = 2",
    RESERVATIONS + "key = 'h' where account_id = 'a'",
    RESERVATIONS + "key = 'done' where account_id = 'a'",
    RESERVATIONS + "key = 'nobody' where account_id = 'a'",
    "insert into pgledger.reservations values ('a', 'h', 1, 5, 5)",
    "insert into pgledger.reservations values ('a', 'done', 1, 5, 1)",
    "insert into pgledger.reservations values ('a', 'nobody', 1, null, 1)",
    PENDING + "lot = null where key = 'h'",
    PENDING + "lot = 4 where key = 'h'",
    PENDING + "lot = 0 where key = 'h'",
    PENDING + "lot = 99 where key = 'h'",
    PENDING + "lot = null where key = 'several'",
    PENDING + "lot = 5 where key = 'several'",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(busy: Ledger, fault: str) -> None:
    plant(busy, fault)
    found = ask_all(busy, "verify")
    assert found
    assert {row["account_id"] for row in found} == {"a"}
    for row in found:
        assert row["rule"]
        assert row["expected"] is not None
        assert row["found"] is not None
    assert ask_all(busy, "verify", account_id="a") == found
    assert ask_all(busy, "verify", account_id="to") == []
