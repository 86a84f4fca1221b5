import pytest

from tests.support import HIGHEST, LOWEST, Ledger, ask, everything, refused, value, write_history


def test_it_tells_what_a_spend_would_find(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-5)
    ask(db, "set_limits", account_id="a", debt_floor=-100)
    ask(db, "top_up", account_id="a", amount=10)
    db.execute("update pgledger.balances set held = 3")
    before = everything(db)
    assert value(db, "check_credits", account_id="a", required=12) is True
    assert value(db, "check_credits", account_id="a", required=13) is False
    assert everything(db) == before


def test_an_unknown_account_has_no_credits(db: Ledger) -> None:
    before = everything(db)
    assert value(db, "check_credits", account_id="a", required=1) is False
    assert everything(db) == before


@pytest.mark.parametrize("status", ["FROZEN", "CLOSED"])
def test_an_account_that_is_not_open_has_none_to_spend(db: Ledger, status: str) -> None:
    ask(db, "open_account", account_id="a", min_balance=-100)
    ask(db, "set_account_status", account_id="a", status=status)
    assert value(db, "check_credits", account_id="a", required=1) is False
    ask(db, "set_account_status", account_id="a", status="OPEN")
    assert value(db, "check_credits", account_id="a", required=100) is True


@pytest.mark.parametrize("status", ["OPEN", "FROZEN", "CLOSED"])
def test_the_status_counts_where_the_balance_row_is_missing(db: Ledger, status: str) -> None:
    write_history(db, "a", 100)
    db.execute("insert into pgledger.accounts (account_id, status) values ('a', %s)", [status])
    assert value(db, "check_credits", account_id="a", required=100) is (status == "OPEN")
    assert value(db, "check_credits", account_id="a", required=101) is False


def test_history_of_another_system_counts(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    assert value(db, "check_credits", account_id="a", required=70) is True
    assert value(db, "check_credits", account_id="a", required=71) is False


@pytest.mark.parametrize("required", [0, -1, LOWEST])
def test_asking_for_nothing_is_a_misuse(db: Ledger, required: int) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    details = refused(db, "22023", "check_credits", account_id="a", required=required)
    assert (details["parameter"], details["given"]) == ("required", str(required))


@pytest.mark.parametrize(
    ("balance", "held", "floor", "required", "covered"),
    [
        (0, 0, 0, 1, False),
        (1, 0, 0, 1, True),
        (HIGHEST, 0, 0, HIGHEST, True),
        (HIGHEST, 1, 0, HIGHEST, False),
        (HIGHEST, HIGHEST, LOWEST, HIGHEST, True),
        (HIGHEST, HIGHEST, -HIGHEST + 1, HIGHEST, False),
        (0, HIGHEST, LOWEST, 1, True),
        (0, HIGHEST, LOWEST, 2, False),
        (-1, HIGHEST, LOWEST, 1, False),
        (LOWEST, 0, LOWEST, 1, False),
        (LOWEST + 1, 0, LOWEST, 1, True),
        (LOWEST + 1, 0, LOWEST, 2, False),
        (LOWEST, HIGHEST, LOWEST, HIGHEST, False),
        (LOWEST, HIGHEST, 0, HIGHEST, False),
        (-1, 0, -HIGHEST, HIGHEST, False),
        (-1, 0, LOWEST, HIGHEST, True),
        (-5, 3, -9, 1, True),
        (-5, 3, -9, 2, False),
        (-5, 10, -9, 1, False),
        (5, 10, -9, 4, True),
        (5, 10, -9, 5, False),
    ],
)
def test_it_is_right_over_the_whole_range(
    db: Ledger, balance: int, held: int, floor: int, required: int, *, covered: bool
) -> None:
    ask(db, "open_account", account_id="a")
    db.execute(
        "update pgledger.balances set balance = %s, held = %s, floor = %s", [balance, held, floor]
    )
    assert (balance - held - required >= floor) is covered
    assert value(db, "check_credits", account_id="a", required=required) is covered
