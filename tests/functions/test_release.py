from datetime import UTC, datetime

import pytest

from tests.support import (
    Ledger,
    ask,
    everything,
    in_order,
    let_expire,
    pending,
    posted,
    refused,
    refused_as_row,
    replayed,
    value,
)

LATER = datetime(2200, 1, 1, tzinfo=UTC)


@pytest.fixture
def held(db: Ledger) -> Ledger:
    """Hold 40 of 100 credits under the key k."""
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "hold", account_id="a", amount=40, key="k", expires_at=LATER)
    return db


def test_a_release_gives_back_what_is_held(held: Ledger) -> None:
    row = ask(held, "release", account_id="a", key="k", reason="not needed")
    assert row.pop("created_at") is not None
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": None,
        "type": "USAGE",
        "amount": -40,
        "requested_amount": -40,
        "running_balance": None,
        "balance": 100,
        "available": 100,
        "status": "CANCELLED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    kept = held.execute("select reason, settled_at from pgledger.pending_transactions").fetchone()
    assert kept
    assert kept["reason"] == "not needed"
    assert kept["settled_at"] is not None
    assert value(held, "get_credits", account_id="a") == 100
    assert ask(held, "get_transaction", account_id="a", key="k")["status"] == "CANCELLED"
    assert posted(held, "a") == [100]
    assert in_order(held)


def test_releasing_twice_is_a_repeat_that_keeps_the_first_reason(held: Ledger) -> None:
    first = ask(held, "release", account_id="a", key="k", reason="first")
    again = replayed(held, "release", account_id="a", key="k", reason="second")
    assert again == first | {"replayed": True}
    again = replayed(held, "cancel_transaction", account_id="a", key="k", reason="third")
    assert again == first | {"replayed": True}


def test_cancelling_a_hold_is_its_release(held: Ledger) -> None:
    row = ask(held, "cancel_transaction", account_id="a", key="k")
    assert (row["status"], row["available"]) == ("CANCELLED", 100)
    replayed(held, "release", account_id="a", key="k")
    assert in_order(held)


@pytest.mark.parametrize("amount", [None, 1])
def test_a_captured_hold_is_not_released(held: Ledger, amount: int | None) -> None:
    ask(held, "capture", account_id="a", key="k", amount=amount)
    for verb in ("release", "cancel_transaction"):
        details = refused(held, "LG007", verb, account_id="a", key="k")
        assert details == {"account_id": "a", "key": "k", "status": "POSTED"}
        row = refused_as_row(held, "LG007", verb, account_id="a", key="k")
        assert row["available"] == 100 - (amount or 40)
    assert in_order(held)


def test_an_expired_hold_is_not_released_though_nothing_closed_it(held: Ledger) -> None:
    let_expire(held, "k")
    for verb in ("release", "cancel_transaction"):
        details = refused(held, "LG007", verb, account_id="a", key="k")
        assert details == {"account_id": "a", "key": "k", "status": "EXPIRED"}
    row = ask(held, "release", account_id="a", key="k", raise_refusals=False)
    assert (row["refusal"], row["balance"], row["available"]) == ("LG007", 100, 100)
    assert pending(held) == {"k": "EXPIRED"}
    assert in_order(held)
    refused(held, "LG007", "release", account_id="a", key="k")
    refused_as_row(held, "LG007", "release", account_id="a", key="k")


def test_releasing_one_hold_leaves_the_others(held: Ledger) -> None:
    ask(held, "hold", account_id="a", amount=7, key="l")
    assert ask(held, "release", account_id="a", key="k")["available"] == 93
    assert ask(held, "get_balance", account_id="a")["held"] == 7
    assert ask(held, "capture", account_id="a", key="l")["available"] == 93
    assert in_order(held)


def test_an_announced_credit_is_cancelled_and_not_released(held: Ledger) -> None:
    ask(held, "top_up", account_id="a", amount=5, key="paid", is_active=False)
    given = {"account_id": "a", "key": "paid"}
    assert refused(held, "22023", "release", **given)["parameter"] == "key"
    refused(held, "22023", "release", **given, raise_refusals=False)
    ask(held, "cancel_transaction", **given)
    refused(held, "22023", "release", **given)


@pytest.mark.parametrize("key", ["other", "#2", "#" + "9" * 200])
def test_an_unknown_key_is_not_found(held: Ledger, key: str) -> None:
    for account_id in ("a", "nobody"):
        given = {"account_id": account_id, "key": key}
        assert refused(held, "LG006", "release", **given) == given
        refused_as_row(held, "LG006", "release", **given)


@pytest.mark.parametrize("key", ["paid", "#1"])
def test_what_was_posted_at_once_is_not_released(db: Ledger, key: str) -> None:
    ask(db, "top_up", account_id="a", amount=5, key="paid")
    details = refused(db, "LG007", "release", account_id="a", key=key)
    assert details == {"account_id": "a", "key": key, "status": "POSTED"}


def test_a_key_belongs_to_its_account(held: Ledger) -> None:
    ask(held, "top_up", account_id="b", amount=100)
    refused(held, "LG006", "release", account_id="b", key="k")
    ask(held, "hold", account_id="b", amount=7, key="k")
    assert ask(held, "release", account_id="b", key="k")["available"] == 100
    assert ask(held, "capture", account_id="a", key="k")["amount"] == -40
    assert in_order(held)


def test_a_hold_on_a_frozen_account_is_released(held: Ledger) -> None:
    ask(held, "set_account_status", account_id="a", status="FROZEN")
    assert ask(held, "release", account_id="a", key="k")["available"] == 100
    assert in_order(held)


def test_a_lost_balance_row_comes_back_for_a_release(held: Ledger) -> None:
    held.execute("delete from pgledger.balances")
    assert ask(held, "release", account_id="a", key="k")["available"] == 100
    assert in_order(held)


@pytest.mark.parametrize("reason", ["", "x" * 1001])
def test_a_reason_is_a_short_text(held: Ledger, reason: str) -> None:
    details = refused(held, "22023", "release", account_id="a", key="k", reason=reason)
    assert (details["parameter"], details["length"]) == ("reason", len(reason))
    ask(held, "release", account_id="a", key="k", reason="x" * 1000)


def test_a_release_that_is_rolled_back_left_the_hold_open(held: Ledger) -> None:
    before = everything(held)
    with held.transaction(force_rollback=True):
        ask(held, "release", account_id="a", key="k")
    assert everything(held) == before
    assert ask(held, "capture", account_id="a", key="k")["amount"] == -40
