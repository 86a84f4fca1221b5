from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    everything,
    in_order,
    posted,
    refused,
    refused_as_row,
    replayed,
    value,
    write_history,
)


def test_a_top_up_opens_the_account(db: Ledger) -> None:
    row = ask(
        db,
        "top_up",
        account_id="a",
        amount=100,
        key="k",
        reference="r",
        external_id="x",
        metadata={"m": 1},
    )
    assert (row["type"], row["status"], row["balance"]) == ("TOP_UP", "POSTED", 100)
    (recorded,) = ask_all(db, "get_transaction", account_id="a", key="k")
    assert (recorded["reference"], recorded["external_id"]) == ("r", "x")
    assert recorded["metadata"] == {"m": 1}
    assert ask(db, "get_balance", account_id="a")["status"] == "OPEN"
    assert in_order(db)


def test_a_top_up_is_credited_once(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 100, "key": "k"}
    ask(db, "top_up", **given)
    assert replayed(db, "top_up", **given)["running_balance"] == 100
    refused(db, "LG002", "top_up", account_id="a", amount=101, key="k")
    refused_as_row(db, "LG002", "top_up", account_id="a", amount=101, key="k")
    refused(db, "LG002", "grant_credits", **given)
    assert posted(db, "a") == [100]


def test_a_payment_is_credited_once_whatever_the_key(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 100, "external_id": "pi_1"}
    ask(db, "top_up", **given, key="webhook")
    assert replayed(db, "top_up", **given, key="page")["key"] == "webhook"
    details = refused(db, "LG002", "top_up", **(given | {"amount": 99}), key="page")
    assert details["recorded"]["amount"] == 100
    assert posted(db, "a") == [100]


def test_an_announced_top_up_waits(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 100, "key": "k", "is_active": False}
    row = ask(db, "top_up", **given)
    assert (row["status"], row["balance"], row["available"]) == ("PENDING", 0, 0)
    assert replayed(db, "top_up", **given)["status"] == "PENDING"
    assert value(db, "get_credits", account_id="a") == 0
    details = refused(db, "LG002", "top_up", account_id="a", amount=100, key="k")
    assert (details["recorded"]["status"], details["given"]["announced"]) == ("PENDING", False)
    refused(db, "LG002", "top_up", **(given | {"amount": 99}))


def test_an_announced_top_up_that_was_enabled_replays_as_what_it_became(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 100, "key": "k", "is_active": False}
    ask(db, "top_up", **given)
    ask(db, "enable_transaction", account_id="a", key="k", amount=80)
    row = replayed(db, "top_up", **given)
    assert (row["status"], row["amount"], row["seq"]) == ("POSTED", 80, 1)
    refused(db, "LG002", "top_up", **(given | {"amount": 80}))


def test_an_announced_top_up_that_was_cancelled_keeps_its_key(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 100, "key": "k"}
    ask(db, "top_up", **given, is_active=False)
    ask(db, "cancel_transaction", account_id="a", key="k")
    assert replayed(db, "top_up", **given, is_active=False)["status"] == "CANCELLED"
    refused(db, "LG002", "top_up", **given)
    assert posted(db, "a") == []


def test_the_external_id_given_on_enabling_counts_in_a_repeat(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 100, "key": "k", "is_active": False}
    ask(db, "top_up", **given)
    ask(db, "enable_transaction", account_id="a", key="k", external_id="x")
    replayed(db, "top_up", **given, external_id="x")
    refused(db, "LG002", "top_up", **given, external_id="y")


def test_the_ceiling_cuts_and_refuses(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 100, "ceiling_balance": 60}
    row = ask(db, "top_up", **given, key="k")
    assert (row["amount"], row["requested_amount"], row["balance"]) == (60, 100, 60)
    assert replayed(db, "top_up", **given, key="k")["amount"] == 60
    details = refused(db, "LG005", "top_up", **given)
    assert (details["balance"], details["ceiling_balance"]) == (60, 60)
    assert refused_as_row(db, "LG005", "top_up", **given)["requested_amount"] == 100
    assert in_order(db)


def test_a_ceiling_that_refuses_the_first_credit_leaves_no_account(db: Ledger) -> None:
    given = {"account_id": "a", "amount": 1, "ceiling_balance": 0}
    refused(db, "LG005", "top_up", **given)
    refused_as_row(db, "LG005", "top_up", **given)


def test_a_frozen_account_is_topped_up(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert ask(db, "top_up", account_id="a", amount=5)["balance"] == 5
    assert ask(db, "top_up", account_id="a", amount=5, is_active=False)["status"] == "PENDING"
    assert in_order(db)


def test_a_closed_account_is_not_topped_up(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    assert refused(db, "LG004", "top_up", account_id="a", amount=5)["status"] == "CLOSED"
    refused(db, "LG004", "top_up", account_id="a", amount=5, is_active=False)
    refused_as_row(db, "LG004", "top_up", account_id="a", amount=5)


def test_history_of_another_system_is_added_to(db: Ledger) -> None:
    write_history(db, "a", 100, -30)
    row = ask(db, "top_up", account_id="a", amount=5, is_active=False, key="k")
    assert (row["balance"], row["available"]) == (70, 70)
    assert ask(db, "top_up", account_id="a", amount=5)["balance"] == 75
    assert ask(db, "enable_transaction", account_id="a", key="k")["balance"] == 80
    assert in_order(db)


def test_a_balance_beyond_bigint_is_refused_with_the_numbers(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=HIGHEST)
    details = refused(db, "22003", "top_up", account_id="a", amount=1)
    assert details == {"account_id": "a", "balance": HIGHEST, "held": 0, "amount": 1}
    refused(db, "22003", "top_up", account_id="a", amount=1, raise_refusals=False)
    refused(db, "22003", "top_up", account_id="a", amount=HIGHEST, external_id="x")
    assert everything(db)
