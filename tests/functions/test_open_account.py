from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    everything,
    in_order,
    refused,
    value,
    write_history,
)


def test_an_account_is_opened_with_plain_settings(db: Ledger) -> None:
    opened = ask(db, "open_account", account_id="a")
    assert opened.pop("created_at") is not None
    assert opened == {
        "account_id": "a",
        "currency": "CREDIT",
        "status": "OPEN",
        "min_balance": 0,
        "debt_floor": 0,
        "metadata": {},
        "low_balance_level": None,
        "events": 0,
    }
    assert value(db, "get_credits", account_id="a") == 0
    assert in_order(db)


def test_an_account_is_opened_with_settings_of_its_own(db: Ledger) -> None:
    db.execute("insert into pgledger.currencies (code, exponent) values ('EUR', 2)")
    opened = ask(
        db, "open_account", account_id="a", currency="EUR", min_balance=-50, metadata={"tier": 1}
    )
    assert (opened["currency"], opened["min_balance"], opened["debt_floor"]) == ("EUR", -50, -50)
    assert opened["metadata"] == {"tier": 1}
    assert in_order(db)


def test_the_floor_holds_from_the_first_spend_on(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-50)
    assert ask(db, "spend", account_id="a", amount=50)["balance"] == -50
    assert refused(db, "LG001", "spend", account_id="a", amount=1)["floor"] == -50


def test_the_lowest_floor_is_usable(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=LOWEST)
    assert ask(db, "spend", account_id="a", amount=HIGHEST)["balance"] == -HIGHEST
    assert ask(db, "spend", account_id="a", amount=1)["balance"] == LOWEST
    assert refused(db, "LG001", "spend", account_id="a", amount=1)["missing"] == 1
    assert in_order(db)


def test_a_repeat_changes_nothing_and_answers_with_what_is(db: Ledger) -> None:
    first = ask(db, "open_account", account_id="a", min_balance=-5, metadata={"n": 1})
    ask(db, "set_limits", account_id="a", min_balance=-7, debt_floor=-9)
    before = everything(db)
    again = ask(db, "open_account", account_id="a", min_balance=-100, metadata={"n": 2})
    assert everything(db) == before
    assert again == first | {"min_balance": -7, "debt_floor": -9}


def test_a_repeat_in_another_currency_is_a_conflict(db: Ledger) -> None:
    db.execute("insert into pgledger.currencies (code, exponent) values ('EUR', 2)")
    ask(db, "open_account", account_id="a")
    details = refused(db, "LG002", "open_account", account_id="a", currency="EUR")
    assert details["account_id"] == "a"
    assert details["recorded"] == {"currency": "CREDIT"}
    assert details["given"] == {"currency": "EUR"}


def test_an_unknown_currency_is_refused(db: Ledger) -> None:
    details = refused(db, "22023", "open_account", account_id="a", currency="XXX")
    assert (details["parameter"], details["given"]) == ("currency", "XXX")


def test_a_floor_above_zero_is_refused(db: Ledger) -> None:
    details = refused(db, "22023", "open_account", account_id="a", min_balance=1)
    assert (details["parameter"], details["given"]) == ("min_balance", "1")


def test_history_of_another_system_is_taken_over(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    assert ask(db, "open_account", account_id="a", min_balance=-10)["status"] == "OPEN"
    assert value(db, "get_credits", account_id="a") == 70
    assert ask(db, "spend", account_id="a", amount=80)["balance"] == -10
    assert in_order(db)


def test_opening_after_the_first_credit_keeps_the_credit(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=5)
    ask(db, "open_account", account_id="a", min_balance=-100)
    assert value(db, "get_credits", account_id="a") == 5
    assert refused(db, "LG001", "spend", account_id="a", amount=6)["floor"] == 0


def test_a_repeat_answers_for_a_frozen_and_a_closed_account(db: Ledger) -> None:
    for status in ("FROZEN", "CLOSED"):
        ask(db, "open_account", account_id=status)
        ask(db, "set_account_status", account_id=status, status=status)
        assert ask(db, "open_account", account_id=status)["status"] == status
    assert in_order(db)
