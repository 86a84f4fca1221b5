"""record_card_check: a card on file, once."""

from typing import Any

import pytest

from tests.support import Ledger, ask, everything, in_order, journal, pending, refused

CHECK: dict[str, Any] = {"provider": "test", "check_id": "seti_1", "account_id": "a"}


def announce(db: Ledger, type_: str = "CARD_CHECK", amount: int = 5) -> None:
    given = {"account_id": "a", "amount": amount, "type": type_, "key": "k"}
    ask(db, "add_transaction", **given, is_active=False)


def linked(db: Ledger) -> list[tuple[str, str, str]]:
    found = db.execute(
        "select kind::text, value, account_id from pgledger.account_identifiers order by 1"
    )
    return [tuple(row.values()) for row in found]


def test_it_enables_what_was_announced(db: Ledger) -> None:
    announce(db)
    row = ask(db, "record_card_check", **CHECK, key="k", amount=9)
    assert row == {
        "account_id": "a", "key": "k", "seq": 1, "amount": 5, "balance": 5, "replayed": False,
    }  # fmt: skip
    assert ask(db, "get_transaction", account_id="a", key="k")["external_id"] == "seti_1"
    assert in_order(db)


def test_it_gives_an_amount_where_there_is_one(db: Ledger) -> None:
    assert ask(db, "record_card_check", **CHECK, amount=5)["key"] == "#test-seti_1"
    row = ask(db, "record_card_check", **(CHECK | {"check_id": "seti_2"}), amount=7, key="l")
    assert (row["key"], row["seq"], row["balance"]) == ("l", 2, 12)
    assert journal(db) == [("CARD_CHECK", 5), ("CARD_CHECK", 7)]


def test_it_gives_nothing_where_there_is_none(db: Ledger) -> None:
    before = everything(db)
    row = ask(db, "record_card_check", **CHECK, key="k")
    assert (row["key"], row["seq"], row["amount"], row["balance"]) == (None, None, None, 0)
    assert row["replayed"] is False
    assert everything(db) == before


@pytest.mark.parametrize("announced", [True, False])
def test_a_repeat_changes_nothing(db: Ledger, announced: bool) -> None:  # noqa: FBT001
    if announced:
        announce(db)
    given: dict[str, Any] = CHECK | {"key": "k", "amount": 5, "customer": "cus_1"}
    first = ask(db, "record_card_check", **given, payment_method="pm_1")
    before = everything(db)
    again = ask(db, "record_card_check", **given, payment_method="pm_1")
    assert again == first | {"replayed": True}
    again.pop("key")
    assert [row for row in everything(db) if row["what"] != "balance"] == [
        row for row in before if row["what"] != "balance"
    ]


def test_it_links_the_customer_and_the_card(db: Ledger) -> None:
    ask(db, "record_card_check", **CHECK, customer="cus_1", payment_method="pm_1")
    assert linked(db) == [("CUSTOMER", "cus_1", "a"), ("PAYMENT_METHOD", "pm_1", "a")]


@pytest.mark.parametrize("given", [{"customer": "cus_1"}, {"payment_method": "pm_1"}])
def test_what_is_another_accounts_is_refused_and_nothing_is_given(
    db: Ledger, given: dict[str, str]
) -> None:
    ask(db, "record_card_check", **(CHECK | {"account_id": "b"}), **given)
    detail = refused(db, "LG002", "record_card_check", **CHECK, amount=5, **given)
    assert detail["linked_to"] == "b"


@pytest.mark.parametrize("what", ["GRANT", "hold", "own"])
def test_it_enables_nothing_else(db: Ledger, what: str) -> None:
    if what == "GRANT":
        announce(db, "GRANT")
    elif what == "hold":
        ask(db, "grant_credits", account_id="a", amount=5)
        announce(db, "CARD_CHECK", -5)
    before = pending(db)
    code = "LG006" if what == "own" else "LG002"
    key = "#k" if what == "own" else "k"
    refused(db, code, "record_card_check", **CHECK, key=key, amount=5)
    assert pending(db) == before


def test_what_is_announced_otherwise_is_a_conflict_even_where_it_gives_nothing(db: Ledger) -> None:
    announce(db, "GRANT")
    refused(db, "LG002", "record_card_check", **CHECK, key="k")
    assert pending(db) == {"k": "PENDING"}


def test_a_closed_account_is_refused(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    refused(db, "LG004", "record_card_check", **CHECK, amount=5)
