"""What remains of one lot is taken back, and what would still come back to it."""

import pytest

from tests.support import (
    Ledger,
    ask,
    ask_all,
    day,
    expiries,
    give,
    head,
    journal,
    left,
    let_pass,
    paid,
    pool,
    refused,
    refused_as_row,
    replayed,
    unreckoned,
    value,
)

GIVEN = {"account_id": "a", "key": "A", "reason": "abuse"}


@pytest.fixture
def some(db: Ledger) -> Ledger:
    """Spend 3 of the 10 of lot A; 5 in B come after it, and 4 in the pool."""
    give(db, "A", 10, day(1))
    give(db, "B", 5, day(2))
    give(db, "pool", 4)
    ask(db, "spend", account_id="a", amount=3, key="s")
    return db


def test_what_remains_of_a_lot_is_taken_back_and_nothing_else(some: Ledger) -> None:
    row = ask(some, "revoke_lot", **GIVEN)
    created_at = row.pop("created_at")
    assert row == {
        "account_id": "a",
        "key": "#revoke-1",
        "seq": 5,
        "type": "REVERSAL",
        "amount": -7,
        "requested_amount": -7,
        "running_balance": 9,
        "balance": 9,
        "available": 9,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    recorded = ask(some, "get_transaction", account_id="a", key="#revoke-1")
    assert (recorded["metadata"], recorded["original_seq"]) == ({"reason": "abuse"}, 1)
    assert paid(some, "#revoke-1") == [("A", 7)]
    (lot,) = some.execute("select * from pgledger.lots where seq = 1").fetchall()
    assert (lot["expired"], lot["expires_at"]) == (0, created_at)
    assert lot["granted_expires_at"] == day(1)
    assert (left(some), head(some), pool(some)) == ({"B": 5}, ("B", 5), 4)
    assert unreckoned(some) == []


def test_the_list_counts_what_was_revoked_as_drawn(some: Ledger) -> None:
    ask(some, "revoke_lot", **GIVEN)
    (row,) = [each for each in ask_all(some, "lots", account_id="a") if each["key"] == "A"]
    assert (row["granted"], row["drawn"], row["expired"], row["remaining"]) == (10, 10, 0, 0)


@pytest.mark.parametrize("reason", ["abuse", "another"])
def test_a_repeat_answers_with_the_first(some: Ledger, reason: str) -> None:
    first = ask(some, "revoke_lot", **GIVEN)
    given = GIVEN | {"reason": reason}
    assert replayed(some, "revoke_lot", **given) == first | {"replayed": True}
    assert replayed(some, "revoke_lot", **(given | {"key": "#1"}))["key"] == "#revoke-1"
    ask(some, "spend", account_id="a", amount=9)
    let_pass(some, "5 days")
    assert ask(some, "revoke_lot", **given, raise_refusals=False)["replayed"] is True
    assert unreckoned(some) == []


def test_a_lot_that_is_not_the_head_is_revoked(some: Ledger) -> None:
    row = ask(some, "revoke_lot", **(GIVEN | {"key": "B"}))
    assert (row["key"], row["amount"], head(some)) == ("#revoke-2", -5, ("A", 7))
    assert unreckoned(some) == []


def test_a_lot_that_never_expires_is_revoked(db: Ledger) -> None:
    give(db, "A", 10, priority=2)
    ask(db, "revoke_lot", **GIVEN)
    (row,) = db.execute("select expires_at from pgledger.lots").fetchall()
    (now,) = db.execute("select created_at from pgledger.transactions where seq = 2").fetchall()
    assert row["expires_at"] == now["created_at"]
    replayed(db, "grant_credits", account_id="a", amount=10, key="A", priority=2)
    assert unreckoned(db) == []


@pytest.mark.parametrize("way", ["release", "expiry", "capture", "reversal"])
def test_what_comes_back_to_a_revoked_lot_is_gone_at_once(some: Ledger, way: str) -> None:
    ask(some, "hold", account_id="a", amount=5, key="h", expires_at=day(0.5))
    assert ask(some, "revoke_lot", **GIVEN)["amount"] == -2
    assert value(some, "get_credits", account_id="a") == 9
    assert unreckoned(some) == []
    if way == "release":
        assert ask(some, "release", account_id="a", key="h")["available"] == 9
    elif way == "expiry":
        let_pass(some, "12 hours")
        assert value(some, "get_credits", account_id="a") == 9
        ask(some, "run_due")
        assert [at for _, _, at in expiries(some)] == [day(0)]
    elif way == "capture":
        assert ask(some, "capture", account_id="a", key="h", amount=1)["available"] == 9
    else:
        row = ask(some, "reverse_transaction", account_id="a", original_key="s")
        assert (row["amount"], row["available"]) == (3, 9)
    gone = {"release": 5, "expiry": 5, "capture": 4, "reversal": 3}[way]
    assert [(key, amount) for key, amount, _ in expiries(some)] == [("A", gone)]
    assert value(some, "get_credits", account_id="a") == 9
    assert unreckoned(some) == []


def test_nothing_that_remains_cannot_be_revoked(some: Ledger) -> None:
    ask(some, "spend", account_id="a", amount=7)
    details = refused(some, "LG009", "revoke_lot", **GIVEN)
    assert details["remaining"] == 0
    row = refused_as_row(some, "LG009", "revoke_lot", **GIVEN)
    assert (row["type"], row["balance"]) == ("REVERSAL", 9)
    # It comes back, and then there is something to revoke.
    ask(some, "reverse_transaction", account_id="a", original_key="s", amount=1)
    assert ask(some, "revoke_lot", **GIVEN)["amount"] == -1
    assert unreckoned(some) == []


def test_a_lot_that_expired_cannot_be_revoked(some: Ledger) -> None:
    let_pass(some, "1 day")
    refused(some, "LG009", "revoke_lot", **GIVEN)
    row = ask(some, "revoke_lot", **GIVEN, raise_refusals=False)
    assert (row["refusal"], row["balance"]) == ("LG009", 9)
    assert expiries(some) == [("A", 7, day(0))]
    assert unreckoned(some) == []


def test_an_unknown_key_is_not_found(some: Ledger) -> None:
    for account_id, key in (("a", "other"), ("a", "#9"), ("nobody", "A")):
        given = GIVEN | {"account_id": account_id, "key": key}
        refused(some, "LG006", "revoke_lot", **given)
        refused_as_row(some, "LG006", "revoke_lot", **given)


@pytest.mark.parametrize("key", ["pool", "s", "#3"])
def test_what_made_no_lot_cannot_be_revoked(some: Ledger, key: str) -> None:
    given = GIVEN | {"key": key}
    assert refused(some, "22023", "revoke_lot", **given)["parameter"] == "key"
    refused(some, "22023", "revoke_lot", **given, raise_refusals=False)


@pytest.mark.parametrize("reason", ["", "x" * 1001])
def test_a_reason_has_1_to_1000_characters(some: Ledger, reason: str) -> None:
    assert refused(some, "22023", "revoke_lot", **(GIVEN | {"reason": reason}))["parameter"] == (
        "reason"
    )


def test_a_frozen_account_is_revoked_from(some: Ledger) -> None:
    ask(some, "set_account_status", account_id="a", status="FROZEN")
    assert ask(some, "revoke_lot", **GIVEN)["amount"] == -7
    assert unreckoned(some) == []


def test_a_closed_account_has_nothing_to_revoke(some: Ledger) -> None:
    ask(some, "spend", account_id="a", amount=16)
    ask(some, "set_account_status", account_id="a", status="CLOSED")
    refused(some, "LG004", "revoke_lot", **GIVEN)


def test_what_was_revoked_counts_for_the_reversal_of_its_grant(some: Ledger) -> None:
    ask(some, "revoke_lot", **GIVEN)
    given = {"account_id": "a", "original_key": "A"}
    assert refused(some, "LG009", "reverse_transaction", **given, amount=4)["remaining"] == 3
    assert ask(some, "reverse_transaction", **given, key="r")["amount"] == -3
    assert paid(some, "r") == [("B", 3)]
    assert refused(some, "LG009", "reverse_transaction", **given)["remaining"] == 0
    assert unreckoned(some) == []


def test_what_was_revoked_and_then_came_back_counts_once(some: Ledger) -> None:
    ask(some, "revoke_lot", **GIVEN)
    ask(some, "reverse_transaction", account_id="a", original_key="s")
    assert journal(some)[-2:] == [("REVERSAL", 3), ("EXPIRY", -3)]
    given = {"account_id": "a", "original_key": "A"}
    assert refused(some, "LG009", "reverse_transaction", **given)["remaining"] == 0
    assert unreckoned(some) == []


def test_what_was_revoked_of_a_top_up_counts_for_its_refunds(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10, key="A", expires_at=day(1))
    give(db, "pool", 20)
    ask(db, "spend", account_id="a", amount=4)
    assert ask(db, "revoke_lot", **GIVEN)["amount"] == -6
    given = {"account_id": "a", "original_key": "A"}
    assert refused(db, "LG009", "refund", **given, amount=5)["remaining"] == 4
    assert ask(db, "refund", **given, key="r")["amount"] == -4
    assert paid(db, "r") == [(None, 4)]
    assert unreckoned(db) == []


def test_what_was_refunded_before_is_not_revoked_again(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10, key="A", expires_at=day(1))
    ask(db, "refund", account_id="a", original_key="A", amount=4)
    assert ask(db, "revoke_lot", **GIVEN)["amount"] == -6
    assert value(db, "get_credits", account_id="a") == 0
    assert refused(db, "LG009", "refund", account_id="a", original_key="A")["remaining"] == 0
    assert unreckoned(db) == []


def test_a_debt_that_the_grant_paid_stays_paid(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    ask(db, "spend", account_id="a", amount=4)
    give(db, "A", 10, day(1))
    assert ask(db, "revoke_lot", **GIVEN)["amount"] == -6
    assert (pool(db), left(db)) == (0, {})
    given = {"account_id": "a", "original_key": "A"}
    assert ask(db, "reverse_transaction", **given)["amount"] == -4
    assert (pool(db), value(db, "get_credits", account_id="a")) == (-4, -4)
    assert unreckoned(db) == []


def test_a_revocation_asks_for_a_top_up_as_any_debit_does(some: Ledger) -> None:
    ask(some, "set_auto_top_up", account_id="a", threshold=10, amount=50)
    ask(some, "revoke_lot", **GIVEN)
    assert ask(some, "get_auto_top_up", account_id="a")["waiting_for"] == "#auto-1"
    assert unreckoned(some) == []


def test_a_lost_balance_row_comes_back_after_a_revocation(some: Ledger) -> None:
    ask(some, "revoke_lot", **GIVEN)
    some.execute("delete from pgledger.balances")
    assert ask(some, "spend", account_id="a", amount=1)["available"] == 8
    assert (head(some), pool(some)) == (("B", 4), 4)
    assert unreckoned(some) == []
