import pytest

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


def test_the_floors_are_set_and_hold_at_once(db: Ledger) -> None:
    opened = ask(db, "open_account", account_id="a")
    row = ask(db, "set_limits", account_id="a", min_balance=-10, debt_floor=-30)
    assert row == opened | {"min_balance": -10, "debt_floor": -30}
    assert ask(db, "spend", account_id="a", amount=10)["balance"] == -10
    assert refused(db, "LG001", "spend", account_id="a", amount=1)["floor"] == -10
    assert ask(db, "spend", account_id="a", amount=20, shortfall="DEBT")["balance"] == -30
    assert in_order(db)


def test_debt_floor_equals_min_balance_unless_given(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    row = ask(db, "set_limits", account_id="a", min_balance=-10)
    assert (row["min_balance"], row["debt_floor"]) == (-10, -10)


def test_min_balance_stays_unless_given(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    row = ask(db, "set_limits", account_id="a", debt_floor=-40)
    assert (row["min_balance"], row["debt_floor"]) == (-10, -40)


def test_a_floor_above_the_balance_moves_no_credits(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    ask(db, "spend", account_id="a", amount=10)
    ask(db, "set_limits", account_id="a", min_balance=0)
    assert value(db, "get_credits", account_id="a") == -10
    assert refused(db, "LG001", "spend", account_id="a", amount=1)["missing"] == 11
    assert in_order(db)


def test_a_repeat_changes_nothing(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    first = ask(db, "set_limits", account_id="a", min_balance=-10, debt_floor=-30)
    before = everything(db)
    assert ask(db, "set_limits", account_id="a", min_balance=-10, debt_floor=-30) == first
    assert everything(db) == before


def test_an_unknown_account_is_not_found(db: Ledger) -> None:
    details = refused(db, "LG003", "set_limits", account_id="a", min_balance=-1)
    assert details["account_id"] == "a"


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"min_balance": 1}, "min_balance"),
        ({"min_balance": HIGHEST}, "min_balance"),
        ({"min_balance": -10, "debt_floor": -9}, "debt_floor"),
        ({"debt_floor": -4}, "debt_floor"),
        ({"debt_floor": 1}, "debt_floor"),
    ],
)
def test_floors_are_ordered_and_not_above_zero(
    db: Ledger, given: dict[str, int], parameter: str
) -> None:
    ask(db, "open_account", account_id="a", min_balance=-5)
    details = refused(db, "22023", "set_limits", account_id="a", **given)
    assert (details["parameter"], details["given"]) == (parameter, str(given[parameter]))


def test_giving_no_floor_is_a_misuse(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    refused(db, "22004", "set_limits", account_id="a")


def test_the_lowest_floors_are_usable(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_limits", account_id="a", min_balance=LOWEST, debt_floor=LOWEST)
    assert value(db, "check_credits", account_id="a", required=HIGHEST) is True
    assert ask(db, "spend", account_id="a", amount=HIGHEST)["balance"] == -HIGHEST
    assert ask(db, "spend", account_id="a", amount=HIGHEST, shortfall="PARTIAL")["amount"] == -1
    assert in_order(db)


def test_history_of_another_system_is_an_account(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    ask(db, "set_limits", account_id="a", min_balance=-10)
    assert ask(db, "spend", account_id="a", amount=80)["balance"] == -10
    assert in_order(db)


def test_floors_of_a_frozen_account_stay_set(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    ask(db, "set_limits", account_id="a", min_balance=-10)
    refused(db, "LG004", "spend", account_id="a", amount=1)
    ask(db, "set_account_status", account_id="a", status="OPEN")
    assert ask(db, "spend", account_id="a", amount=10)["balance"] == -10
