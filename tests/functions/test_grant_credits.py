from tests.support import (
    Ledger,
    ask,
    ask_all,
    in_order,
    refused,
    refused_as_row,
    replayed,
    write_history,
)


def test_a_grant_opens_the_account(db: Ledger) -> None:
    row = ask(
        db, "grant_credits", account_id="a", amount=10, key="k", reference="r", metadata={"m": 1}
    )
    assert (row["type"], row["status"], row["amount"], row["balance"]) == (
        "GRANT",
        "POSTED",
        10,
        10,
    )
    (recorded,) = ask_all(db, "get_transaction", account_id="a", key="k")
    assert (recorded["reference"], recorded["metadata"]) == ("r", {"m": 1})
    assert in_order(db)


def test_a_grant_is_credited_once(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 10, "key": "k"}
    ask(db, "grant_credits", **given)
    assert replayed(db, "grant_credits", **given)["amount"] == 10
    assert refused(db, "LG002", "grant_credits", account_id="a", amount=11, key="k")["key"] == "k"
    refused_as_row(db, "LG002", "grant_credits", account_id="a", amount=11, key="k")
    assert refused(db, "LG002", "top_up", **given)["recorded"]["type"] == "GRANT"


def test_a_frozen_account_is_granted_credits_and_a_closed_one_is_not(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    assert refused(db, "LG004", "grant_credits", account_id="a", amount=1)["status"] == "CLOSED"
    refused_as_row(db, "LG004", "grant_credits", account_id="a", amount=1)
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert ask(db, "grant_credits", account_id="a", amount=1)["balance"] == 1


def test_history_of_another_system_is_added_to(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    row = ask(db, "grant_credits", account_id="a", amount=5)
    assert (row["seq"], row["balance"]) == (3, 75)
    assert in_order(db)
