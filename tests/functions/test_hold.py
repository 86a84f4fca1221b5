from datetime import UTC, datetime

import pytest

from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    ask_all,
    events,
    everything,
    in_order,
    labels,
    let_expire,
    pending,
    posted,
    refused,
    refused_as_row,
    replayed,
    value,
    write_history,
)

LATER = datetime(2200, 1, 1, tzinfo=UTC)


def test_a_hold_reserves_credits_and_moves_none(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    row = ask(
        db,
        "hold",
        account_id="a",
        amount=4,
        key="k",
        expires_at=LATER,
        reference="chat",
        metadata={"m": 1},
    )
    created_at = row.pop("created_at")
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": None,
        "type": "USAGE",
        "amount": -4,
        "requested_amount": -4,
        "running_balance": None,
        "balance": 10,
        "available": 6,
        "status": "PENDING",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    assert ask(db, "get_transaction", account_id="a", key="k") == {
        "account_id": "a",
        "key": "k",
        "seq": None,
        "type": "USAGE",
        "amount": -4,
        "requested_amount": -4,
        "running_balance": None,
        "status": "PENDING",
        "reference": "chat",
        "external_id": None,
        "metadata": {"m": 1},
        "created_at": created_at,
        "expires_at": LATER,
        "original_seq": None,
        "counterparty": None,
        "usage": None,
    }
    assert posted(db, "a") == [10]
    assert in_order(db)


def test_what_is_held_is_not_available_to_anybody(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "hold", account_id="a", amount=4)
    assert value(db, "get_credits", account_id="a") == 6
    balance = ask(db, "get_balance", account_id="a")
    assert (balance["balance"], balance["held"], balance["available"]) == (10, 4, 6)
    assert value(db, "check_credits", account_id="a", required=6) is True
    assert value(db, "check_credits", account_id="a", required=7) is False
    short = {"balance": 10, "held": 4, "available": 6, "floor": 0, "requested": 7, "missing": 1}
    for verb in ("spend", "hold"):
        details = refused(db, "LG001", verb, account_id="a", amount=7, key="k")
        assert details == {"account_id": "a", "key": "k", **short}
        row = refused_as_row(db, "LG001", verb, account_id="a", amount=7)
        assert (row["balance"], row["available"], row["requested_amount"]) == (10, 6, -7)
    assert ask(db, "spend", account_id="a", amount=9, shortfall="PARTIAL")["amount"] == -6
    assert in_order(db)


def test_holds_add_up_to_the_last_credit(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    left = [ask(db, "hold", account_id="a", amount=n)["available"] for n in (1, 2, 7)]
    assert left == [9, 7, 0]
    assert refused(db, "LG001", "hold", account_id="a", amount=1)["missing"] == 1
    assert ask(db, "get_balance", account_id="a")["held"] == 10
    assert in_order(db)


def test_a_hold_goes_down_to_min_balance_and_not_to_debt_floor(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-5)
    ask(db, "set_limits", account_id="a", debt_floor=-100)
    assert refused(db, "LG001", "hold", account_id="a", amount=6)["floor"] == -5
    assert ask(db, "hold", account_id="a", amount=5)["available"] == -5
    assert in_order(db)


def test_an_unknown_account_is_short_of_credits(db: Ledger) -> None:
    details = refused(db, "LG001", "hold", account_id="a", amount=1)
    assert (details["available"], details["missing"]) == (0, 1)
    row = refused_as_row(db, "LG001", "hold", account_id="a", amount=1)
    assert (row["type"], row["balance"], row["available"]) == ("USAGE", 0, 0)


def test_a_hold_without_a_key_gets_one(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    keys = {ask(db, "hold", account_id="a", amount=1)["key"] for _ in range(2)}
    assert len(keys) == 2
    for key in keys:
        assert key.startswith("#")
        assert ask(db, "capture", account_id="a", key=key)["key"] == key
    assert posted(db, "a") == [10, -1, -1]
    assert in_order(db)


def test_a_key_belongs_to_its_account(db: Ledger) -> None:
    for account_id in ("a", "b"):
        ask(db, "top_up", account_id=account_id, amount=10)
        assert ask(db, "hold", account_id=account_id, amount=1, key="k")["replayed"] is False


@pytest.mark.parametrize("expires_at", [None, LATER])
def test_a_repeat_answers_with_the_original_and_the_balance_of_now(
    db: Ledger, expires_at: datetime | None
) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    given = {"account_id": "a", "amount": 4, "key": "k", "expires_at": expires_at}
    first = ask(db, "hold", **given)
    ask(db, "spend", account_id="a", amount=6)
    again = replayed(db, "hold", **given, reference="other", metadata={"other": 1})
    assert again == first | {"replayed": True, "balance": 4, "available": 0}
    assert replayed(db, "hold", **given, raise_refusals=False)["status"] == "PENDING"
    assert in_order(db)


def test_a_hold_that_was_settled_repeats_as_what_became_of_it(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    for key in ("captured", "released", "expired"):
        ask(db, "hold", account_id="a", amount=4, key=key, expires_at=LATER)
    ask(db, "capture", account_id="a", key="captured", amount=3)
    ask(db, "release", account_id="a", key="released")
    given = {"account_id": "a", "amount": 4, "expires_at": LATER}
    row = replayed(db, "hold", **given, key="captured")
    assert (row["status"], row["amount"], row["seq"]) == ("POSTED", -3, 2)
    assert replayed(db, "hold", **given, key="released")["status"] == "CANCELLED"

    let_expire(db, "expired")
    given["expires_at"] = ask(db, "get_transaction", account_id="a", key="expired")["expires_at"]
    row = replayed(db, "hold", **given, key="expired")
    assert (row["status"], row["available"]) == ("EXPIRED", 97)
    ask(db, "top_up", account_id="a", amount=1)
    assert pending(db)["expired"] == "EXPIRED"
    row = replayed(db, "hold", **given, key="expired")
    assert (row["status"], row["balance"], row["available"]) == ("EXPIRED", 98, 98)
    assert in_order(db)


@pytest.mark.parametrize(
    "other",
    [{"amount": 5}, {"expires_at": None}, {"expires_at": datetime(2100, 1, 1, tzinfo=UTC)}],
)
def test_a_key_used_for_another_hold_is_a_conflict(db: Ledger, other: dict[str, object]) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    given: dict[str, object] = {"account_id": "a", "amount": 4, "key": "k", "expires_at": LATER}
    ask(db, "hold", **given)
    details = refused(db, "LG002", "hold", **(given | other))
    assert (details["account_id"], details["key"]) == ("a", "k")
    assert details["recorded"] == {
        "key": "k",
        "type": "USAGE",
        "amount": -4,
        "external_id": None,
        "expires_at": LATER.isoformat(),
        "priority": 0,
        "original": None,
        "counterparty": None,
        "usage": None,
        "status": "PENDING",
    }
    assert details["given"]["amount"] == -(other.get("amount", 4))  # type: ignore[operator]
    assert details["given"]["announced"] is True
    row = refused_as_row(db, "LG002", "hold", **(given | other))
    assert (row["balance"], row["available"]) == (100, 96)
    assert in_order(db)


def test_the_key_of_a_hold_is_taken_for_a_spend_whatever_became_of_it(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    for key in ("open", "captured", "released", "expired"):
        ask(db, "hold", account_id="a", amount=4, key=key, expires_at=LATER)
    ask(db, "capture", account_id="a", key="captured")
    ask(db, "release", account_id="a", key="released")
    let_expire(db, "expired")
    told = {}
    for key in ("open", "captured", "released", "expired"):
        details = refused(db, "LG002", "spend", account_id="a", amount=4, key=key)
        told[key] = details["recorded"]["status"]
    assert told == {
        "open": "PENDING",
        "captured": "POSTED",
        "released": "CANCELLED",
        "expired": "EXPIRED",
    }
    assert posted(db, "a") == [100, -4]
    ask(db, "run_due")
    for key in told:
        refused_as_row(db, "LG002", "spend", account_id="a", amount=4, key=key)


def test_the_key_of_a_spend_is_taken_for_a_hold(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10, key="paid")
    ask(db, "spend", account_id="a", amount=4, key="k")
    details = refused(db, "LG002", "hold", account_id="a", amount=4, key="k")
    assert (details["recorded"]["status"], details["given"]["announced"]) == ("POSTED", True)
    row = refused_as_row(db, "LG002", "hold", account_id="a", amount=4, key="k")
    assert (row["balance"], row["available"]) == (6, 6)
    refused(db, "LG002", "hold", account_id="a", amount=10, key="paid")
    assert in_order(db)


def test_an_announced_credit_is_no_hold_of_the_same_key(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "top_up", account_id="a", amount=4, key="k", is_active=False)
    details = refused(db, "LG002", "hold", account_id="a", amount=4, key="k")
    assert details["recorded"]["type"] == "TOP_UP"
    refused_as_row(db, "LG002", "hold", account_id="a", amount=4, key="k")


def test_a_conflict_is_told_from_a_shortage(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "hold", account_id="a", amount=10, key="k")
    replayed(db, "hold", account_id="a", amount=10, key="k")
    refused(db, "LG002", "hold", account_id="a", amount=1000, key="k")


def test_a_frozen_account_refuses_a_hold_and_repeats_an_old_one(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "hold", account_id="a", amount=4, key="old")
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    given = {"account_id": "a", "amount": 4, "key": "k"}
    details = refused(db, "LG004", "hold", **given)
    assert details == {"account_id": "a", "key": "k", "status": "FROZEN", "requested": -4}
    refused_as_row(db, "LG004", "hold", **given)
    assert replayed(db, "hold", account_id="a", amount=4, key="old")["status"] == "PENDING"
    assert in_order(db)


def test_a_closed_account_refuses_a_hold(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    assert refused(db, "LG004", "hold", account_id="a", amount=1)["status"] == "CLOSED"
    refused_as_row(db, "LG004", "hold", account_id="a", amount=1)


def test_an_account_with_an_open_hold_is_not_closed(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=-10)
    ask(db, "hold", account_id="a", amount=4, key="k")
    details = refused(db, "55000", "set_account_status", account_id="a", status="CLOSED")
    assert details == {"account_id": "a", "balance": 0, "in_lots": 0, "pending": 1}
    ask(db, "release", account_id="a", key="k")
    assert ask(db, "set_account_status", account_id="a", status="CLOSED")["status"] == "CLOSED"
    assert in_order(db)


@pytest.mark.parametrize("expires_at", ["infinity", "-infinity", "2000-01-01", "now"])
def test_a_hold_expires_in_the_future(db: Ledger, expires_at: str) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    given = {"account_id": "a", "amount": 4, "key": "k", "expires_at": expires_at}
    assert refused(db, "22023", "hold", **given)["parameter"] == "expires_at"
    refused(db, "22023", "hold", **given, raise_refusals=False)


def test_history_of_another_system_can_be_held(db: Ledger) -> None:
    write_history(db, "a", 100, -30, key="old")
    refused(db, "LG002", "hold", account_id="a", amount=30, key="old2")
    row = refused_as_row(db, "LG001", "hold", account_id="a", amount=71)
    assert (row["balance"], row["available"]) == (70, 70)
    assert ask(db, "hold", account_id="a", amount=70)["available"] == 0
    refused(db, "LG001", "spend", account_id="a", amount=1)
    assert in_order(db)


def test_what_was_settled_in_time_does_not_expire_any_more(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    past = datetime(2000, 1, 1, tzinfo=UTC)
    for key in ("captured", "released"):
        ask(db, "hold", account_id="a", amount=4, key=key, expires_at=LATER)
    ask(db, "capture", account_id="a", key="captured")
    ask(db, "release", account_id="a", key="released")
    db.execute(
        "update pgledger.pending_transactions"
        " set expires_at = %s, settled_at = timestamptz '1999-12-31'",
        [past],
    )
    given = {"account_id": "a", "amount": 4, "expires_at": past}
    assert replayed(db, "hold", **given, key="captured")["status"] == "POSTED"
    assert replayed(db, "hold", **given, key="released")["status"] == "CANCELLED"
    assert ask(db, "get_transaction", account_id="a", key="released")["status"] == "CANCELLED"
    replayed(db, "capture", account_id="a", key="captured")
    replayed(db, "release", account_id="a", key="released")
    details = refused(db, "LG007", "capture", account_id="a", key="released")
    assert details["status"] == "CANCELLED"
    assert value(db, "run_due") == 0
    assert in_order(db)


@pytest.mark.parametrize("way", ["lost row", "something due"])
def test_a_hold_that_was_judged_under_the_lock_expires_too(db: Ledger, way: str) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    if way == "lost row":
        db.execute("delete from pgledger.balances")
    else:
        ask(db, "hold", account_id="a", amount=1, key="due", expires_at=LATER)
        let_expire(db, "due")
    ask(db, "hold", account_id="a", amount=40, key="k", expires_at=LATER)
    kept = db.execute("select attention_at from pgledger.balances").fetchone()
    assert kept == {"attention_at": LATER}
    assert in_order(db)


def test_a_lost_balance_row_comes_back_with_what_is_held(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "hold", account_id="a", amount=4, key="k", expires_at=LATER)
    kept = everything(db)
    db.execute("delete from pgledger.balances")
    assert value(db, "get_credits", account_id="a") == 6
    assert ask(db, "get_balance", account_id="a")["held"] == 4
    assert value(db, "check_credits", account_id="a", required=7) is False
    refused(db, "LG001", "spend", account_id="a", amount=7)
    row = ask(db, "hold", account_id="a", amount=7, raise_refusals=False)
    assert (row["refusal"], row["available"]) == ("LG001", 6)
    replayed(db, "hold", account_id="a", amount=4, key="k", expires_at=LATER)
    assert everything(db) == kept
    assert in_order(db)


@pytest.mark.parametrize(
    ("min_balance", "balance", "held", "amount", "code"),
    [
        (LOWEST, 0, 0, HIGHEST, None),
        (LOWEST, 0, 1, HIGHEST, "22003"),
        (LOWEST, HIGHEST, 1, HIGHEST, "22003"),
        (LOWEST, HIGHEST, 0, HIGHEST, None),
        (LOWEST, -1, 0, HIGHEST, None),
        (LOWEST, -2, 0, HIGHEST, "LG001"),
        (LOWEST, LOWEST, 0, 1, "LG001"),
        (LOWEST, LOWEST + 1, 0, 1, None),
        (0, HIGHEST, 0, HIGHEST, None),
        (0, HIGHEST, 1, HIGHEST, "LG001"),
        (0, HIGHEST, HIGHEST, 1, "LG001"),
    ],
)
def test_no_guard_overflows_at_the_edges(
    db: Ledger, min_balance: int, balance: int, held: int, amount: int, *, code: str | None
) -> None:
    ask(db, "open_account", account_id="a", min_balance=min_balance)
    db.execute("update pgledger.balances set balance = %s, held = %s", [balance, held])
    if code is None:
        row = ask(db, "hold", account_id="a", amount=amount)
        assert (row["balance"], row["available"]) == (balance, balance - held - amount)
    else:
        assert refused(db, code, "hold", account_id="a", amount=amount)["held"] == held


def test_a_hold_that_is_rolled_back_left_nothing(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    before = everything(db)
    with db.transaction(force_rollback=True):
        ask(db, "hold", account_id="a", amount=10, key="k")
    assert everything(db) == before
    assert ask(db, "hold", account_id="a", amount=3, key="k")["replayed"] is False


def test_a_refusal_as_a_row_lets_the_rest_of_the_transaction_commit(db: Ledger) -> None:
    with db.transaction():
        ask(db, "top_up", account_id="a", amount=10)
        refused_as_row(db, "LG001", "hold", account_id="a", amount=11)
        refused_as_row(db, "LG001", "hold", account_id="b", amount=1)
        ask(db, "hold", account_id="a", amount=10)
    assert value(db, "get_credits", account_id="a") == 0
    assert in_order(db)


def test_a_hold_and_its_capture_tell_nobody_unless_asked_to(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "hold", account_id="a", amount=10, key="k")
    ask(db, "capture", account_id="a", key="k")
    assert events(db) == []
    assert ask_all(db, "get_auto_top_up", account_id="a") == []


def test_an_announced_debit_is_a_hold_of_any_type(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=100, type="GRANT")
    given = {"account_id": "a", "amount": -5, "is_active": False, "external_id": "x"}
    row = ask(db, "add_transaction", **given, type="CARD_CHECK", key="k", reference="r")
    assert (row["status"], row["type"], row["seq"]) == ("PENDING", "CARD_CHECK", None)
    assert (row["amount"], row["balance"], row["available"]) == (-5, 100, 95)
    for type_ in labels(db, "transaction_type"):
        held = ask(
            db, "add_transaction", account_id="a", amount=-1, type=type_, is_active=False, key=type_
        )
        assert (held["status"], held["type"]) == ("PENDING", type_)
        posted_ = ask(db, "capture", account_id="a", key=type_)
        assert (posted_["type"], posted_["amount"]) == (type_, -1)
    assert replayed(db, "add_transaction", **given, type="CARD_CHECK", key="k")["key"] == "k"
    assert replayed(db, "add_transaction", **given, type="CARD_CHECK")["key"] == "k"
    refused(db, "LG002", "add_transaction", **given, type="USAGE", key="k")
    assert ask(db, "release", account_id="a", key="k")["available"] == 91
    assert in_order(db)


def test_a_hold_and_an_announced_usage_are_one_and_the_same(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=100, type="GRANT")
    given = {"account_id": "a", "amount": -5, "type": "USAGE", "is_active": False}
    ask(db, "add_transaction", **given, key="k")
    assert replayed(db, "hold", account_id="a", amount=5, key="k")["amount"] == -5
    ask(db, "hold", account_id="a", amount=5, key="l")
    assert replayed(db, "add_transaction", **given, key="l")["amount"] == -5
    assert in_order(db)


def test_an_announced_debit_needs_the_credits(db: Ledger) -> None:
    ask(db, "add_transaction", account_id="a", amount=10, type="GRANT")
    given = {"account_id": "a", "amount": -11, "type": "USAGE", "is_active": False}
    assert refused(db, "LG001", "add_transaction", **given)["missing"] == 1
    refused_as_row(db, "LG001", "add_transaction", **given)
    details = refused(db, "22023", "add_transaction", **given, fail_insufficient_credits=False)
    assert details["parameter"] == "fail_insufficient_credits"
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    refused(db, "LG004", "add_transaction", **given)
