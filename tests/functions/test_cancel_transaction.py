import pytest

from tests.support import (
    Ledger,
    ask,
    ask_all,
    in_order,
    posted,
    refused,
    refused_as_row,
    replayed,
    write_history,
)


def announce(db: Ledger, **more: object) -> None:
    ask(db, "top_up", account_id="a", amount=100, key="k", is_active=False, **more)


def test_cancelling_drops_what_was_announced(db: Ledger) -> None:
    announce(db)
    row = ask(db, "cancel_transaction", account_id="a", key="k", reason="card declined")
    assert (row["status"], row["amount"], row["seq"]) == ("CANCELLED", 100, None)
    assert (row["running_balance"], row["balance"], row["replayed"]) == (None, 0, False)
    (recorded,) = ask_all(db, "get_transaction", account_id="a", key="k")
    assert recorded["status"] == "CANCELLED"
    kept = db.execute("select reason, settled_at from pgledger.pending_transactions").fetchone()
    assert kept
    assert kept["reason"] == "card declined"
    assert kept["settled_at"] is not None
    assert posted(db, "a") == []
    assert in_order(db)


def test_cancelling_twice_is_a_repeat_that_keeps_the_first_reason(db: Ledger) -> None:
    announce(db)
    first = ask(db, "cancel_transaction", account_id="a", key="k", reason="first")
    again = replayed(db, "cancel_transaction", account_id="a", key="k", reason="second")
    assert again == first | {"replayed": True}


def test_a_cancelled_announcement_repeats_as_cancelled(db: Ledger) -> None:
    announce(db, external_id="x")
    ask(db, "cancel_transaction", account_id="a", key="k")
    given = {"account_id": "a", "amount": 100, "is_active": False}
    assert replayed(db, "top_up", **given, key="k")["status"] == "CANCELLED"
    assert replayed(db, "top_up", **given, key="l", external_id="x")["status"] == "CANCELLED"


def test_what_was_enabled_is_not_cancelled(db: Ledger) -> None:
    announce(db)
    ask(db, "enable_transaction", account_id="a", key="k")
    details = refused(db, "LG007", "cancel_transaction", account_id="a", key="k")
    assert details == {"account_id": "a", "key": "k", "status": "POSTED"}
    row = refused_as_row(db, "LG007", "cancel_transaction", account_id="a", key="k")
    assert row["balance"] == 100


def test_what_expired_is_not_cancelled(db: Ledger) -> None:
    announce(db)
    ask(db, "cancel_transaction", account_id="a", key="k")
    db.execute("update pgledger.pending_transactions set status = 'EXPIRED'")
    details = refused(db, "LG007", "cancel_transaction", account_id="a", key="k")
    assert details["status"] == "EXPIRED"


@pytest.mark.parametrize("key", ["k", "#1"])
def test_what_was_posted_at_once_is_not_cancelled(db: Ledger, key: str) -> None:
    ask(db, "top_up", account_id="a", amount=5, key="k")
    details = refused(db, "LG007", "cancel_transaction", account_id="a", key=key)
    assert (details["key"], details["status"]) == (key, "POSTED")


def test_an_unknown_key_is_not_found(db: Ledger) -> None:
    for account_id in ("nobody", "a"):
        given = {"account_id": account_id, "key": "k"}
        assert refused(db, "LG006", "cancel_transaction", **given) == given
        refused_as_row(db, "LG006", "cancel_transaction", **given)
        ask(db, "open_account", account_id="a")


def test_a_key_belongs_to_its_account(db: Ledger) -> None:
    announce(db)
    ask(db, "open_account", account_id="b")
    refused(db, "LG006", "cancel_transaction", account_id="b", key="k")
    ask(db, "top_up", account_id="b", amount=100, key="k", is_active=False)
    ask(db, "cancel_transaction", account_id="b", key="k")
    assert ask(db, "enable_transaction", account_id="a", key="k")["status"] == "POSTED"


def test_an_announcement_on_a_frozen_account_is_cancelled(db: Ledger) -> None:
    announce(db)
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert ask(db, "cancel_transaction", account_id="a", key="k")["status"] == "CANCELLED"


def test_a_closed_account_has_nothing_to_cancel(db: Ledger) -> None:
    announce(db)
    ask(db, "cancel_transaction", account_id="a", key="k")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    replayed(db, "cancel_transaction", account_id="a", key="k")
    refused(db, "LG006", "cancel_transaction", account_id="a", key="other")


def test_history_of_another_system_has_nothing_pending(db: Ledger) -> None:
    write_history(db, "a", 100, key="old")
    refused(db, "LG007", "cancel_transaction", account_id="a", key="old1")
    row = refused_as_row(db, "LG007", "cancel_transaction", account_id="a", key="old1")
    assert row["balance"] == 100
    refused_as_row(db, "LG006", "cancel_transaction", account_id="a", key="k")
    assert in_order(db)


@pytest.mark.parametrize("reason", ["", "x" * 1001, "x" * 10_000_000])
def test_a_reason_is_a_short_text(db: Ledger, reason: str) -> None:
    announce(db)
    details = refused(db, "22023", "cancel_transaction", account_id="a", key="k", reason=reason)
    assert (details["parameter"], details["length"]) == ("reason", len(reason))
    ask(db, "cancel_transaction", account_id="a", key="k", reason="x" * 1000)


def test_a_refusal_as_a_row_lets_the_rest_of_the_transaction_commit(db: Ledger) -> None:
    with db.transaction():
        announce(db)
        refused_as_row(db, "LG006", "cancel_transaction", account_id="a", key="other")
        ask(db, "cancel_transaction", account_id="a", key="k")
    assert replayed(db, "cancel_transaction", account_id="a", key="k")["status"] == "CANCELLED"
    assert in_order(db)
