import pytest

from tests.support import Ledger, ask, everything, write_history


def test_an_unknown_account_has_no_status(db: Ledger) -> None:
    before = everything(db)
    assert ask(db, "get_balance", account_id="a") == {
        "account_id": "a",
        "currency": None,
        "status": None,
        "balance": 0,
        "held": 0,
        "available": 0,
        "min_balance": 0,
        "debt_floor": 0,
        "low_balance_level": None,
        "next_expiry_at": None,
        "next_expiry_amount": None,
    }
    assert everything(db) == before


def test_the_balance_and_the_settings_are_told(db: Ledger) -> None:
    db.execute("insert into pgledger.currencies (code, exponent) values ('EUR', 2)")
    ask(db, "open_account", account_id="a", currency="EUR", min_balance=-5)
    ask(db, "set_limits", account_id="a", debt_floor=-9)
    ask(db, "set_low_balance_level", account_id="a", level=20)
    ask(db, "top_up", account_id="a", amount=100)
    db.execute("update pgledger.balances set held = 30")
    assert ask(db, "get_balance", account_id="a") == {
        "account_id": "a",
        "currency": "EUR",
        "status": "OPEN",
        "balance": 100,
        "held": 30,
        "available": 70,
        "min_balance": -5,
        "debt_floor": -9,
        "low_balance_level": 20,
        "next_expiry_at": None,
        "next_expiry_amount": None,
    }


@pytest.mark.parametrize("status", ["FROZEN", "CLOSED"])
def test_the_status_is_told(db: Ledger, status: str) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status=status)
    assert ask(db, "get_balance", account_id="a")["status"] == status


def test_history_of_another_system_is_an_open_account(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    before = everything(db)
    row = ask(db, "get_balance", account_id="a")
    assert (row["balance"], row["available"], row["held"]) == (70, 70, 0)
    assert (row["currency"], row["status"]) == ("CREDIT", "OPEN")
    assert everything(db) == before


def test_settings_are_told_where_the_balance_row_is_missing(db: Ledger) -> None:
    write_history(db, "a", 100)
    db.execute(
        "insert into pgledger.accounts (account_id, status, min_balance, debt_floor)"
        " values ('a', 'FROZEN', -10, -20)"
    )
    row = ask(db, "get_balance", account_id="a")
    assert (row["status"], row["min_balance"], row["debt_floor"]) == ("FROZEN", -10, -20)
    assert row["balance"] == 100
