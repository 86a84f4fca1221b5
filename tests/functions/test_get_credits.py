from tests.support import Ledger, ask, everything, value, write_history


def test_an_unknown_account_has_none(db: Ledger) -> None:
    before = everything(db)
    assert value(db, "get_credits", account_id="a") == 0
    assert everything(db) == before


def test_credits_follow_every_movement(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "top_up", account_id="a", amount=100, is_active=False)
    assert value(db, "get_credits", account_id="a") == 10
    ask(db, "spend", account_id="a", amount=3)
    assert value(db, "get_credits", account_id="a") == 7


def test_what_is_held_is_not_available(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    db.execute("update pgledger.balances set held = 12")
    assert value(db, "get_credits", account_id="a") == -2


def test_history_of_another_system_counts(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    before = everything(db)
    assert value(db, "get_credits", account_id="a") == 70
    assert everything(db) == before


def test_frozen_and_closed_accounts_still_answer(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert value(db, "get_credits", account_id="a") == 10
    ask(db, "set_account_status", account_id="a", status="OPEN")
    ask(db, "spend", account_id="a", amount=10)
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    assert value(db, "get_credits", account_id="a") == 0


def test_one_account_does_not_see_another(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    write_history(db, "b", 5)
    assert value(db, "get_credits", account_id="a") == 10
    assert value(db, "get_credits", account_id="b") == 5
    assert value(db, "get_credits", account_id="c") == 0
