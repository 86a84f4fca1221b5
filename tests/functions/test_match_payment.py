"""match_payment: a person says whose money it is."""

from typing import Any

import pytest

from tests.payments import announce, tell
from tests.support import (
    Ledger,
    ask,
    ask_all,
    events,
    everything,
    in_order,
    journal,
    pending,
    refused,
    value,
)

MATCH: dict[str, Any] = {"provider": "test", "payment_id": "p", "account_id": "a"}


def audited(db: Ledger) -> list[tuple[str, str, str, dict[str, Any]]]:
    found = db.execute(
        "select account_id, act, actor, arguments from pgledger.audit_log order by created_at"
    )
    return [tuple(row.values()) for row in found]


def test_it_credits_what_nobody_knew(db: Ledger) -> None:
    tell(db, account_id=None, key=None, customer="cus_1")
    row = ask(db, "match_payment", **MATCH, amount=70, actor="ann")
    assert (row["account_id"], row["seq"], row["amount"]) == ("a", 1, 70)
    assert (row["key"], row["reason"]) == ("#test-p", None)
    assert [kind for kind, _ in events(db)] == ["top_up_paid"]
    (linked,) = db.execute("select value, account_id from pgledger.account_identifiers").fetchall()
    assert linked == {"value": "cus_1", "account_id": "a"}
    assert audited(db) == [
        ("a", "match_payment", "ann", {"provider": "test", "payment_id": "p", "amount": 70})
    ]
    assert ask_all(db, "list_payments", unmatched=True) == []
    assert in_order(db)


def test_a_repeat_changes_nothing(db: Ledger) -> None:
    tell(db, account_id=None, key=None)
    first = ask(db, "match_payment", **MATCH, amount=70, key="m")
    before = everything(db)
    assert ask(db, "match_payment", **MATCH) == first
    assert ask(db, "match_payment", **MATCH, amount=70, key="m") == first
    assert tell(db, account_id=None, key=None)["seq"] == 1
    assert everything(db) == before
    for other in ({"account_id": "b"}, {"amount": 71}, {"key": "n"}):
        detail = refused(db, "LG002", "match_payment", **(MATCH | other))
        assert detail["recorded"] == {"account_id": "a", "amount": 70, "key": "m"}


def test_it_enables_the_announcement_it_names_with_the_amount_it_says(db: Ledger) -> None:
    announce(db)
    tell(db, account_id=None, key=None)
    row = ask(db, "match_payment", **MATCH, key="k", amount=60)
    assert (row["key"], row["amount"]) == ("k", 60)
    assert pending(db) == {"k": "ENABLED"}
    assert ask(db, "match_payment", **MATCH, key="k")["seq"] == 1


def test_without_an_amount_it_is_what_was_announced_or_told(db: Ledger) -> None:
    announce(db)
    tell(db, account_id=None, key=None)
    assert ask(db, "match_payment", **MATCH, key="k")["amount"] == 100
    tell(db, payment_id="q", account_id=None, key=None, amount=30)
    assert ask(db, "match_payment", **(MATCH | {"payment_id": "q"}))["amount"] == 30
    tell(db, payment_id="r", account_id=None, key=None)
    refused(db, "22004", "match_payment", **(MATCH | {"payment_id": "r"}))


def test_a_key_that_was_told_is_kept_where_it_is_of_use(db: Ledger) -> None:
    announce(db)
    tell(db, account_id=None)
    assert ask(db, "match_payment", **MATCH)["key"] == "k"
    # Told, but never announced.
    tell(db, payment_id="q", key="l")
    assert ask(db, "match_payment", **(MATCH | {"payment_id": "q"}), amount=5)["key"] == "l"
    # Paid for already: the second payment is a top-up of its own.
    tell(db, payment_id="r")
    row = ask(db, "match_payment", **(MATCH | {"payment_id": "r"}), amount=100)
    assert row["key"] == "#test-r"
    # The ledger's own, which nobody announced here.
    tell(db, payment_id="s", key="#auto-9")
    row = ask(db, "match_payment", **(MATCH | {"payment_id": "s"}), amount=100)
    assert row["key"] == "#test-s"
    assert journal(db) == [("TOP_UP", 100), ("TOP_UP", 5), ("TOP_UP", 100), ("TOP_UP", 100)]
    assert in_order(db)


def test_keys_of_other_accounts_are_another_matter(db: Ledger) -> None:
    # Paid for there, and announced there: neither says anything of it here.
    ask(db, "top_up", account_id="b", amount=5, key="k")
    tell(db)
    assert ask(db, "match_payment", **MATCH, amount=5)["key"] == "k"
    key = announce(db, None, account_id="b")["key"]  # type: ignore[arg-type]
    tell(db, payment_id="q", account_id=None, key=key)
    row = ask(db, "match_payment", **(MATCH | {"payment_id": "q"}), amount=5)
    assert row["key"] == "#test-q"


def test_what_the_person_says_goes_before_what_was_told(db: Ledger) -> None:
    announce(db)
    announce(db, "l")
    tell(db, account_id=None, amount=30)
    row = ask(db, "match_payment", **MATCH, key="l", amount=60)
    assert (row["key"], row["amount"]) == ("l", 60)
    # And what was announced before what was told, as ever.
    tell(db, payment_id="q", account_id=None, amount=30)
    assert ask(db, "match_payment", **(MATCH | {"payment_id": "q"}))["amount"] == 100


def test_a_repeat_may_give_either_key(db: Ledger) -> None:
    tell(db, account_id=None, key="l")
    ask(db, "top_up", account_id="a", amount=40, key="m", external_id="p")
    first = ask(db, "match_payment", **MATCH)
    assert first["key"] == "m"
    for key in ("l", "m"):
        assert ask(db, "match_payment", **MATCH, key=key) == first
    refused(db, "LG002", "match_payment", **MATCH, key="n")
    # One without a key has that of its movement.
    tell(db, payment_id="q", account_id=None, key=None)
    given = MATCH | {"payment_id": "q"}
    first = ask(db, "match_payment", **given, amount=5)
    assert ask(db, "match_payment", **given, key="#test-q") == first
    refused(db, "LG002", "match_payment", **given, key="n")


def test_a_key_that_was_told_of_another_account_is_not_taken(db: Ledger) -> None:
    announce(db)
    ask(db, "open_account", account_id="b")
    ask(db, "set_account_status", account_id="b", status="CLOSED")
    tell(db, account_id="b")
    row = ask(db, "match_payment", **MATCH, amount=5)
    assert (row["account_id"], row["key"]) == ("a", "#test-p")
    assert pending(db) == {"k": "PENDING"}


def test_an_announcement_of_the_ledgers_own_is_kept(db: Ledger) -> None:
    key = announce(db, None)["key"]  # type: ignore[arg-type]
    assert key.startswith("#")
    tell(db, account_id=None, key=key)
    assert ask(db, "match_payment", **MATCH)["key"] == key


def test_what_was_refunded_meanwhile_is_taken_at_once(db: Ledger) -> None:
    tell(db, account_id=None, key=None, refunded=500)
    row = ask(db, "match_payment", **MATCH, amount=70)
    assert (row["taken"], value(db, "get_credits", account_id="a")) == (70, 0)


@pytest.mark.parametrize("status", ["PROCESSING", "FAILED"])
def test_money_that_is_not_there_is_not_matched(db: Ledger, status: str) -> None:
    tell(db, status)
    assert refused(db, "LG007", "match_payment", **MATCH, amount=1)["status"] == status


def test_it_refuses_in_words(db: Ledger) -> None:
    refused(db, "LG006", "match_payment", **MATCH, amount=1)
    announce(db)
    tell(db)
    tell(db, payment_id="q", account_id=None, key=None)
    given = MATCH | {"payment_id": "q", "amount": 1}
    refused(db, "LG002", "match_payment", **given, key="k")
    refused(db, "LG006", "match_payment", **given, key="#nobody")
    refused(db, "22023", "match_payment", **given, actor="a\nb")
    ask(db, "open_account", account_id="b")
    ask(db, "set_account_status", account_id="b", status="CLOSED")
    refused(db, "LG004", "match_payment", **(given | {"account_id": "b"}))


def test_a_top_up_of_another_payment_is_not_matched(db: Ledger) -> None:
    announce(db)
    ask(db, "enable_transaction", account_id="a", key="k")
    tell(db)
    tell(db, payment_id="q", account_id=None, key=None)
    refused(db, "LG002", "match_payment", **(MATCH | {"payment_id": "q"}), key="k")


def test_what_the_provider_tells_of_it_later_does_not_undo_what_a_person_said(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    tell(db, amount=100)
    announce(db, account_id="b")
    ask(db, "match_payment", **(MATCH | {"account_id": "b"}))
    # With each refund it tells once more whose the payment was meant to be.
    row = tell(db, amount=100, refunded=250)
    assert (row["account_id"], row["key"], row["seq"], row["taken"]) == ("b", "#test-p", 1, 50)
    assert db.execute("select status from pgledger.pending_transactions").fetchall() == [
        {"status": "PENDING"}
    ]
    assert in_order(db)


def test_it_does_not_answer_for_what_somebody_else_was_credited(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=70, key="order")
    for payment_id, key, provider in (("r", "order", "other"), ("q", "q", "test")):
        tell(db, account_id=None, key=None, payment_id=payment_id, provider=provider)
        given = {"payment_id": payment_id, "provider": provider, "amount": 70, "key": key}
        ask(db, "match_payment", **(MATCH | given))
    told = {"provider": "test", "payment_id": "r"}
    tell(db, **told, key="r", amount=70)
    # Freezing the account is kept in the audit log, too.
    ask(db, "record_dispute", **told, dispute_id="d", amount=500, status="OPEN")
    refused(db, "LG002", "record_payment", **told, status="SUCCEEDED", account_id="b")
    refused(db, "LG002", "record_payment", **told, status="SUCCEEDED", key="s")
