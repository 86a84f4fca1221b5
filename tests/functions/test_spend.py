import pytest

from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    in_order,
    posted,
    refused,
    refused_as_row,
    replayed,
    value,
    write_history,
)


def test_a_spend_takes_credits(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    row = ask(
        db, "spend", account_id="a", amount=4, key="k", reference="chat", metadata={"model": "m"}
    )
    assert row.pop("created_at") is not None
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": 2,
        "type": "USAGE",
        "amount": -4,
        "requested_amount": -4,
        "running_balance": 6,
        "balance": 6,
        "available": 6,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    (recorded,) = ask_all(db, "get_transaction", account_id="a", key="k")
    assert (recorded["reference"], recorded["metadata"]) == ("chat", {"model": "m"})
    assert in_order(db)


def test_the_last_credit_can_be_spent_and_not_one_more(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    assert ask(db, "spend", account_id="a", amount=10)["balance"] == 0
    assert refused(db, "LG001", "spend", account_id="a", amount=1, key="k") == {
        "account_id": "a",
        "key": "k",
        "balance": 0,
        "held": 0,
        "available": 0,
        "floor": 0,
        "requested": 1,
        "missing": 1,
    }


@pytest.mark.parametrize("shortfall", ["REFUSE", "PARTIAL", "DEBT"])
def test_an_unknown_account_is_short_of_credits(db: Ledger, shortfall: str) -> None:
    given = {"account_id": "a", "amount": 1, "shortfall": shortfall}
    assert refused(db, "LG001", "spend", **given)["available"] == 0
    assert refused_as_row(db, "LG001", "spend", **given)["available"] == 0


def test_a_refusal_as_a_row_says_what_was_asked(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    raised = refused(db, "LG001", "spend", account_id="a", amount=11, key="k")
    row = refused_as_row(db, "LG001", "spend", account_id="a", amount=11, key="k")
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": None,
        "type": "USAGE",
        "amount": 0,
        "requested_amount": -11,
        "running_balance": None,
        "balance": 10,
        "available": 10,
        "status": "REFUSED",
        "replayed": False,
        "refusal": "LG001",
        "created_at": None,
        "error": {
            "message": "insufficient credits",
            "detail": raised,
            "hint": "Top up, spend less, or spend what is there with PARTIAL.",
        },
    }
    assert refused_as_row(db, "LG001", "spend", account_id="a", amount=11)["key"] is None


def test_a_refused_key_is_still_free(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    refused_as_row(db, "LG001", "spend", account_id="a", amount=5, key="k")
    ask(db, "top_up", account_id="a", amount=10)
    assert ask(db, "spend", account_id="a", amount=6, key="k")["replayed"] is False


def test_partial_spends_what_is_there(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=7)
    given = {"account_id": "a", "shortfall": "PARTIAL", "key": "k"}
    row = ask(db, "spend", amount=10, **given)
    assert (row["amount"], row["requested_amount"], row["balance"]) == (-7, -10, 0)
    again = replayed(db, "spend", amount=10, **given)
    assert (again["amount"], again["requested_amount"]) == (-7, -10)
    details = refused(db, "LG002", "spend", amount=7, **given)
    assert (details["recorded"]["amount"], details["given"]["amount"]) == (-10, -7)
    details = refused(db, "LG001", "spend", account_id="a", amount=10, shortfall="PARTIAL")
    assert (details["available"], details["missing"]) == (0, 10)
    assert in_order(db)


def test_partial_spends_all_when_all_is_there(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    row = ask(db, "spend", account_id="a", amount=10, shortfall="PARTIAL")
    assert (row["amount"], row["requested_amount"]) == (-10, -10)


def test_partial_goes_down_to_min_balance_beside_holds(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-5)
    ask(db, "set_limits", account_id="a", debt_floor=-100)
    ask(db, "top_up", account_id="a", amount=10)
    db.execute("update pgledger.balances set held = 3")
    row = ask(db, "spend", account_id="a", amount=100, shortfall="PARTIAL")
    assert (row["amount"], row["balance"], row["available"]) == (-12, -2, -5)
    details = refused(db, "LG001", "spend", account_id="a", amount=1, shortfall="PARTIAL")
    assert (details["floor"], details["missing"]) == (-5, 1)


def test_debt_goes_down_to_debt_floor(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-5)
    ask(db, "set_limits", account_id="a", debt_floor=-20)
    assert refused(db, "LG001", "spend", account_id="a", amount=6)["floor"] == -5
    assert ask(db, "spend", account_id="a", amount=20, shortfall="DEBT")["balance"] == -20
    details = refused(db, "LG001", "spend", account_id="a", amount=1, shortfall="DEBT")
    assert (details["floor"], details["missing"], details["available"]) == (-20, 1, -20)
    assert refused(db, "LG001", "spend", account_id="a", amount=1)["missing"] == 16
    assert in_order(db)


def test_debt_is_whole_or_refused(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_limits", account_id="a", debt_floor=-20)
    assert (
        refused(db, "LG001", "spend", account_id="a", amount=21, shortfall="DEBT")["missing"] == 1
    )
    assert ask(db, "spend", account_id="a", amount=19, shortfall="DEBT")["balance"] == -19


def test_without_floors_debt_is_no_more_than_refuse(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=5)
    assert refused(db, "LG001", "spend", account_id="a", amount=6, shortfall="DEBT")["floor"] == 0
    assert ask(db, "spend", account_id="a", amount=5, shortfall="DEBT")["balance"] == 0


@pytest.mark.parametrize("shortfall", ["FORCE", "refuse", "", "DEBT "])
def test_an_unknown_shortfall_is_refused(db: Ledger, shortfall: str) -> None:
    ask(db, "top_up", account_id="a", amount=5)
    details = refused(db, "22023", "spend", account_id="a", amount=1, shortfall=shortfall)
    assert (details["parameter"], details["given"]) == ("shortfall", shortfall)


def test_a_repeat_answers_with_the_original_and_the_balance_of_now(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    given = {"account_id": "a", "amount": 4, "key": "k"}
    first = ask(db, "spend", **given)
    ask(db, "spend", account_id="a", amount=6)
    again = replayed(db, "spend", **given, reference="other", shortfall="DEBT")
    assert again == first | {"replayed": True, "balance": 0, "available": 0}
    assert replayed(db, "spend", **given, raise_refusals=False)["seq"] == 2
    assert posted(db, "a") == [10, -4, -6]
    assert in_order(db)


def test_a_key_used_for_something_else_is_a_conflict(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10, key="paid")
    ask(db, "spend", account_id="a", amount=4, key="k")
    details = refused(db, "LG002", "spend", account_id="a", amount=5, key="k")
    assert details["recorded"]["amount"] == -4
    assert details["given"]["amount"] == -5
    details = refused(db, "LG002", "spend", account_id="a", amount=10, key="paid")
    assert details["recorded"]["type"] == "TOP_UP"
    row = refused_as_row(db, "LG002", "spend", account_id="a", amount=5, key="k")
    assert (row["balance"], row["requested_amount"]) == (6, -5)


def test_a_conflict_is_told_from_a_shortage(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "spend", account_id="a", amount=10, key="k")
    refused(db, "LG002", "spend", account_id="a", amount=1000, key="k")


@pytest.mark.parametrize("settled", ["PENDING", "CANCELLED", "ENABLED"])
def test_the_key_of_an_announced_credit_is_taken(db: Ledger, settled: str) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "top_up", account_id="a", amount=5, key="k", is_active=False)
    if settled == "CANCELLED":
        ask(db, "cancel_transaction", account_id="a", key="k")
    if settled == "ENABLED":
        ask(db, "enable_transaction", account_id="a", key="k")
    details = refused(db, "LG002", "spend", account_id="a", amount=5, key="k")
    shown = "POSTED" if settled == "ENABLED" else settled
    assert details["recorded"]["status"] == shown
    refused_as_row(db, "LG002", "spend", account_id="a", amount=5, key="k")
    assert in_order(db)


@pytest.mark.parametrize("shortfall", ["REFUSE", "PARTIAL", "DEBT"])
@pytest.mark.parametrize("status", ["FROZEN", "CLOSED"])
def test_an_account_that_is_not_open_does_not_spend(
    db: Ledger, status: str, shortfall: str
) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    ask(db, "set_account_status", account_id="a", status=status)
    given = {"account_id": "a", "amount": 1, "shortfall": shortfall, "key": "k"}
    assert refused(db, "LG004", "spend", **given) == {
        "account_id": "a",
        "key": "k",
        "status": status,
        "requested": -1,
    }
    refused_as_row(db, "LG004", "spend", **given)
    ask(db, "set_account_status", account_id="a", status="OPEN")
    assert ask(db, "spend", **given)["balance"] == -1


@pytest.mark.parametrize("opened", [False, True])
def test_history_of_another_system_is_spendable_at_once(db: Ledger, *, opened: bool) -> None:
    write_history(db, "a", 100, -30)
    if opened:
        db.execute("insert into pgledger.accounts (account_id) values ('a')")
    assert refused(db, "LG001", "spend", account_id="a", amount=71)["available"] == 70
    row = ask(db, "spend", account_id="a", amount=70)
    assert (row["seq"], row["balance"]) == (3, 0)
    refused(db, "LG001", "spend", account_id="a", amount=1)
    assert in_order(db)


def test_debts_of_another_system_are_debts_here(db: Ledger) -> None:
    write_history(db, "a", 10, -30)
    assert refused(db, "LG001", "spend", account_id="a", amount=1)["missing"] == 21
    assert refused_as_row(db, "LG001", "spend", account_id="a", amount=1)["balance"] == -20


def test_a_refusal_as_a_row_lets_the_rest_of_the_transaction_commit(db: Ledger) -> None:
    db.execute("create table orders (id int)")
    with db.transaction():
        ask(db, "top_up", account_id="a", amount=10)
        assert refused_as_row(db, "LG001", "spend", account_id="a", amount=11)["balance"] == 10
        assert refused_as_row(db, "LG001", "spend", account_id="b", amount=1)["balance"] == 0
        db.execute("insert into orders values (1)")
        ask(db, "spend", account_id="a", amount=10)
    assert db.execute("select id from orders").fetchall() == [{"id": 1}]
    assert posted(db, "a") == [10, -10]
    assert posted(db, "b") == []
    assert in_order(db)


def test_a_spend_that_is_rolled_back_left_nothing(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    with db.transaction(force_rollback=True):
        ask(db, "spend", account_id="a", amount=10, key="k")
    assert value(db, "get_credits", account_id="a") == 10
    row = ask(db, "spend", account_id="a", amount=3, key="k")
    assert (row["seq"], row["replayed"]) == (2, False)
    assert in_order(db)


@pytest.mark.parametrize(
    ("min_balance", "held", "amount", "accepted"),
    [
        (-HIGHEST - 1, 0, HIGHEST, True),
        (-HIGHEST - 1, HIGHEST, HIGHEST, True),
        (-HIGHEST + 1, HIGHEST, HIGHEST, False),
        (0, HIGHEST, 1, False),
        (-HIGHEST - 1, 10, HIGHEST, True),
    ],
)
def test_no_guard_overflows_at_the_edges(
    db: Ledger, min_balance: int, held: int, amount: int, *, accepted: bool
) -> None:
    ask(db, "open_account", account_id="a", min_balance=min_balance)
    ask(db, "top_up", account_id="a", amount=HIGHEST)
    db.execute("update pgledger.balances set held = %s", [held])
    given = {"account_id": "a", "amount": amount}
    if accepted:
        assert ask(db, "spend", **given)["available"] == HIGHEST - amount - held
    else:
        assert refused(db, "LG001", "spend", **given)["missing"] == (
            min_balance - (HIGHEST - held - amount)
        )
