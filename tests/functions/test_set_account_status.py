from datetime import UTC, datetime

import pytest

from tests.support import (
    Ledger,
    ask,
    everything,
    in_order,
    let_expire,
    pending,
    refused,
    value,
    write_history,
)


def test_a_status_is_set_and_told(db: Ledger) -> None:
    opened = ask(db, "open_account", account_id="a", min_balance=-5, metadata={"m": 1})
    frozen = 0
    for status in ("FROZEN", "CLOSED", "FROZEN", "OPEN", "CLOSED", "OPEN"):
        frozen += status == "FROZEN"
        row = ask(db, "set_account_status", account_id="a", status=status)
        assert row == opened | {"status": status, "events": frozen}
        assert in_order(db)
    assert ask(db, "spend", account_id="a", amount=5)["balance"] == -5


@pytest.mark.parametrize("status", ["OPEN", "FROZEN", "CLOSED"])
def test_a_repeat_changes_nothing(db: Ledger, status: str) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status=status)
    before = everything(db)
    assert ask(db, "set_account_status", account_id="a", status=status)["status"] == status
    assert everything(db) == before


@pytest.mark.parametrize("status", ["OPEN", "FROZEN", "CLOSED"])
def test_an_unknown_account_is_not_found(db: Ledger, status: str) -> None:
    details = refused(db, "LG003", "set_account_status", account_id="a", status=status)
    assert details["account_id"] == "a"


@pytest.mark.parametrize("amount", [1, -1])
def test_an_account_with_a_balance_is_not_closed(db: Ledger, amount: int) -> None:
    ask(db, "open_account", account_id="a")
    ask(
        db,
        "add_transaction",
        account_id="a",
        amount=amount,
        type="ADJUSTMENT",
        fail_insufficient_credits=False,
    )
    details = refused(db, "55000", "set_account_status", account_id="a", status="CLOSED")
    assert details == {"account_id": "a", "balance": amount, "in_lots": 0, "pending": 0}


def test_an_account_with_something_pending_is_not_closed(db: Ledger) -> None:
    for key in ("k", "l"):
        ask(db, "top_up", account_id="a", amount=5, key=key, is_active=False)
    ask(db, "cancel_transaction", account_id="a", key="l")
    ask(db, "top_up", account_id="b", amount=5, is_active=False)
    details = refused(db, "55000", "set_account_status", account_id="a", status="CLOSED")
    assert details == {"account_id": "a", "balance": 0, "in_lots": 0, "pending": 1}
    ask(db, "cancel_transaction", account_id="a", key="k")
    assert ask(db, "set_account_status", account_id="a", status="CLOSED")["status"] == "CLOSED"
    assert in_order(db)


def test_an_account_whose_holds_all_expired_is_closed(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    ask(db, "hold", account_id="a", amount=5, key="k", expires_at="2200-01-01")
    refused(db, "55000", "set_account_status", account_id="a", status="CLOSED")
    let_expire(db)
    assert ask(db, "set_account_status", account_id="a", status="CLOSED")["status"] == "CLOSED"
    assert pending(db) == {"k": "EXPIRED"}
    assert in_order(db)


def test_an_account_that_opens_again_still_knows_what_will_be_due(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "hold", account_id="a", amount=5, key="k", expires_at="2200-01-01 00:00Z")
    for status in ("FROZEN", "OPEN"):
        ask(db, "set_account_status", account_id="a", status=status)
        assert in_order(db)
    kept = db.execute("select attention_at from pgledger.balances").fetchone()
    assert kept == {"attention_at": datetime(2200, 1, 1, tzinfo=UTC)}


def test_history_of_another_system_is_an_account(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    details = refused(db, "55000", "set_account_status", account_id="a", status="CLOSED")
    assert details["balance"] == 70
    assert ask(db, "set_account_status", account_id="a", status="FROZEN")["status"] == "FROZEN"
    assert refused(db, "LG004", "spend", account_id="a", amount=1)["status"] == "FROZEN"
    assert value(db, "get_credits", account_id="a") == 70
    assert in_order(db)


def test_one_account_is_frozen_and_not_the_others(db: Ledger) -> None:
    for account_id in ("a", "b"):
        ask(db, "top_up", account_id=account_id, amount=5)
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert ask(db, "spend", account_id="b", amount=5)["balance"] == 0
    assert in_order(db)
