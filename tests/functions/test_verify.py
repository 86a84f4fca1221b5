from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.support import Ledger, ask, ask_all, everything, in_order, refused, write_history

Connect = Callable[..., psycopg.Connection[DictRow]]


@pytest.fixture
def busy(db: Ledger) -> Ledger:
    """A ledger with some of everything in it, and the guard of its journal off."""
    ask(db, "open_account", account_id="a", min_balance=-5)
    ask(db, "top_up", account_id="a", amount=100, key="one", ceiling_balance=50)
    ask(db, "spend", account_id="a", amount=30, key="two")
    ask(db, "top_up", account_id="a", amount=10, key="three", is_active=False)
    ask(db, "enable_transaction", account_id="a", key="three")
    ask(db, "top_up", account_id="a", amount=9, key="four", is_active=False, ceiling_balance=35)
    ask(db, "cancel_transaction", account_id="a", key="four")
    ask(db, "top_up", account_id="a", amount=5, key="five", is_active=False)
    ask(db, "top_up", account_id="b", amount=7)
    ask(db, "set_account_status", account_id="b", status="FROZEN")
    ask(db, "open_account", account_id="c")
    ask(db, "set_account_status", account_id="c", status="CLOSED")
    write_history(db, "foreign", 5, -2)
    assert in_order(db)
    return db


def plant(db: Ledger, fault: str) -> None:
    """Do what only a superuser can, and put the guard back."""
    db.execute("alter table pgledger.transactions disable trigger transactions_append_only")
    db.execute(fault)
    db.execute("alter table pgledger.transactions enable always trigger transactions_append_only")


JOURNAL = "update pgledger.transactions set "
BALANCE = "update pgledger.balances set "
PENDING = "update pgledger.pending_transactions set "


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (
            JOURNAL + "amount = -31 where key = 'two'",
            [
                ("running_balance is the previous one plus amount", 2),
                ("balance is the sum of amounts", 3),
            ],
        ),
        (
            JOURNAL + "running_balance = 21 where key = 'two'",
            [
                ("running_balance is the previous one plus amount", 2),
                ("running_balance is the previous one plus amount", 3),
            ],
        ),
        (
            JOURNAL + "running_balance = 31 where key = 'three'",
            [
                ("running_balance is the previous one plus amount", 3),
                ("balance is the last running_balance", 3),
            ],
        ),
        (
            JOURNAL + "amount = 51, running_balance = 51 where key = 'one'",
            [
                ("running_balance is the previous one plus amount", 2),
                ("balance is the sum of amounts", 3),
            ],
        ),
        (
            JOURNAL + "seq = 4 where key = 'three'",
            [("seq without a gap", 4), ("balance.seq is the last seq", 3)],
        ),
        (
            JOURNAL + "seq = 0 where key = 'one'",
            [("seq without a gap", 0), ("seq without a gap", 2)],
        ),
        (
            "delete from pgledger.transactions where key = 'two'",
            [
                ("seq without a gap", 3),
                ("running_balance is the previous one plus amount", 3),
                ("balance is the sum of amounts", 3),
            ],
        ),
        (
            "delete from pgledger.transactions where key = 'three'",
            [
                ("balance is the last running_balance", 3),
                ("balance is the sum of amounts", 3),
                ("balance.seq is the last seq", 3),
                ("posted exactly when enabled", None),
            ],
        ),
        (
            JOURNAL + "created_at = '2100-01-01' where key = 'two'",
            [("created_at never decreases", 3)],
        ),
        (
            JOURNAL + "created_at = '2100-01-01' where key = 'three'",
            [("updated_at is not before the last transaction", 3)],
        ),
        (
            JOURNAL + "created_at = '-infinity' where key = 'one'",
            [("created_at never decreases", 1)],
        ),
        (
            JOURNAL + "requested_amount = 50 where key = 'one'",
            [("amount is part of requested_amount", 1)],
        ),
        (
            JOURNAL + "requested_amount = -100 where key = 'one'",
            [("amount is part of requested_amount", 1)],
        ),
        (
            JOURNAL + "requested_amount = 29 where key = 'two'",
            [("amount is part of requested_amount", 2)],
        ),
        (
            JOURNAL + "requested_amount = -29 where key = 'two'",
            [("amount is part of requested_amount", 2)],
        ),
        (
            JOURNAL + "type = 'GRANT' where key = 'three'",
            [("posted as announced", 3)],
        ),
        (
            BALANCE + "balance = balance + 1 where account_id = 'a'",
            [("balance is the last running_balance", 3), ("balance is the sum of amounts", 3)],
        ),
        (
            BALANCE + "seq = 4 where account_id = 'a'",
            [("balance.seq is the last seq", 4)],
        ),
        (
            BALANCE + "held = 1 where account_id = 'a'",
            [("held is the sum of open holds", 3)],
        ),
        (
            BALANCE + "floor = 0 where account_id = 'a'",
            [("floor is min_balance", 3)],
        ),
        (
            BALANCE + "pending_rows = 0 where account_id = 'a'",
            [("pending_rows counts pending transactions", 3)],
        ),
        (
            BALANCE + "attention_at = '-infinity' where account_id = 'a'",
            [("attention_at is not after what is due", 3)],
        ),
        (
            BALANCE + "attention_at = 'infinity' where account_id = 'b'",
            [("attention_at is not after what is due", 1)],
        ),
        (
            BALANCE + "updated_at = '2000-01-01' where account_id = 'a'",
            [("updated_at is not before the last transaction", 3)],
        ),
        (
            (
                "insert into pgledger.balances"
                " select 'd', balance, seq, updated_at, held, pending_rows, attention_at, floor,"
                " low_below, top_up_below from pgledger.balances where account_id = 'c'"
            ),
            [
                ("a balance row has an account", 0),
                ("attention_at is not after what is due", 0),
            ],
        ),
        (
            "update pgledger.accounts set min_balance = -4 where account_id = 'a'",
            [("floor is min_balance", 3)],
        ),
        (
            "update pgledger.accounts set status = 'FROZEN' where account_id = 'a'",
            [("attention_at is not after what is due", 3)],
        ),
        (
            (
                "with closed as (update pgledger.accounts set status = 'CLOSED'"
                " where account_id = 'b') select"
            ),
            [("a closed account is empty", 1)],
        ),
        (
            PENDING + "status = 'ENABLED', settled_at = now() where key = 'five'",
            [("posted exactly when enabled", None)],
        ),
        (
            PENDING + "status = 'CANCELLED' where key = 'three'",
            [("posted exactly when enabled", 3)],
        ),
        (
            PENDING + "amount = -amount, requested_amount = null where key = 'three'",
            [("posted as announced", 3)],
        ),
        (
            PENDING + "type = 'GRANT' where key = 'three'",
            [("posted as announced", 3)],
        ),
        (
            PENDING + "requested_amount = amount where key = 'five'",
            [("amount is part of requested_amount", None)],
        ),
        (
            PENDING + "requested_amount = -9 where key = 'four'",
            [("amount is part of requested_amount", None)],
        ),
        (
            PENDING + "amount = -5 where key = 'five'",
            [("held is the sum of open holds", 3)],
        ),
        (
            "delete from pgledger.pending_transactions where key = 'four'",
            [("pending_rows counts pending transactions", 3)],
        ),
    ],
)
def test_a_planted_fault_is_named(
    busy: Ledger, fault: str, named: list[tuple[str, int | None]]
) -> None:
    plant(busy, fault)
    found = ask_all(busy, "verify")
    assert sorted((row["rule"], str(row["seq"])) for row in found) == sorted(
        (rule, str(seq)) for rule, seq in named
    )
    (account_id,) = {row["account_id"] for row in found}
    for row in found:
        assert row["found"] is not None
    assert ask_all(busy, "verify", account_id=account_id) == found
    assert ask_all(busy, "verify", account_id="foreign") == []


def test_a_pending_transaction_of_a_closed_account_is_named(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=5, is_active=False)
    db.execute("update pgledger.accounts set status = 'CLOSED'")
    db.execute("update pgledger.balances set attention_at = '-infinity'")
    assert [row["rule"] for row in ask_all(db, "verify")] == ["a closed account is empty"]


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("disable trigger transactions_append_only", "disabled"),
        ("enable trigger transactions_append_only", "enabled in part"),
        ("enable replica trigger transactions_append_only", "enabled in part"),
        ("disable trigger all", "disabled"),
    ],
)
def test_a_journal_without_its_guard_is_named(db: Ledger, tampering: str, found: str) -> None:
    db.execute(f"alter table pgledger.transactions {tampering}")
    (row,) = ask_all(db, "verify")
    assert (row["rule"], row["expected"], row["found"]) == (
        "the journal is guarded",
        "enabled always",
        found,
    )
    assert row["account_id"] is None


def test_a_journal_whose_guard_was_dropped_is_named(db: Ledger) -> None:
    db.execute("drop trigger transactions_append_only on pgledger.transactions")
    (row,) = ask_all(db, "verify", account_id="a")
    assert (row["rule"], row["found"]) == ("the journal is guarded", "no trigger")


def test_history_of_another_system_is_verified(db: Ledger) -> None:
    write_history(db, "a", 5, -2)
    db.execute(
        "insert into pgledger.transactions"
        " (account_id, seq, amount, running_balance, created_at, type)"
        " values ('a', 4, 1, 5, '2000-01-01', 'GRANT')"
    )
    assert [row["rule"] for row in ask_all(db, "verify")] == [
        "created_at never decreases",
        "running_balance is the previous one plus amount",
        "seq without a gap",
    ]


def test_verifying_changes_nothing(busy: Ledger) -> None:
    before = everything(busy)
    ask_all(busy, "verify")
    assert everything(busy) == before


def test_one_account_is_verified_alone(busy: Ledger) -> None:
    plant(busy, BALANCE + "floor = -1 where account_id in ('a', 'b')")
    assert {row["account_id"] for row in ask_all(busy, "verify")} == {"a", "b"}
    assert {row["account_id"] for row in ask_all(busy, "verify", account_id="b")} == {"b"}
    assert ask_all(busy, "verify", account_id="c") == []
    assert ask_all(busy, "verify", account_id="unknown") == []


def test_an_account_id_that_cannot_be_one_is_not_called_well(db: Ledger) -> None:
    assert refused(db, "22023", "verify", account_id="")["parameter"] == "account_id"


def test_it_finds_nothing_while_others_write(db: Ledger, connect: Connect) -> None:
    for account_id in ("a", "b"):
        ask(db, "top_up", account_id=account_id, amount=1000)

    def write(connection: psycopg.Connection[Any]) -> int:
        for n in range(150):
            account_id = "ab"[n % 2]
            ask(connection, "spend", account_id=account_id, amount=1, raise_refusals=False)
            row = ask(connection, "top_up", account_id=account_id, amount=3, is_active=False)
            settle = ("enable_transaction", "cancel_transaction")[n % 3 == 0]
            ask(connection, settle, account_id=account_id, key=row["key"])
        return 150

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, connect()) for _ in range(2)]
        looks = 0
        while not all(writer.done() for writer in writers) or looks < 5:
            assert ask_all(db, "verify") == []
            looks += 1
    assert [writer.result() for writer in writers] == [150, 150]
