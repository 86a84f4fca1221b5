from datetime import UTC, datetime
from typing import Any, LiteralString

import pytest

from tests.sessions import Connect, stepped
from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    events,
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
# The first goes the fast path, the others are judged under the lock.
WAYS: list[dict[str, Any]] = [{}, {"metadata": {"n": 1}}, {"metadata": {}}]


@pytest.fixture
def held(db: Ledger) -> Ledger:
    """Hold 40 of 100 credits under the key k."""
    ask(db, "top_up", account_id="a", amount=100)
    ask(
        db,
        "hold",
        account_id="a",
        amount=40,
        key="k",
        expires_at=LATER,
        reference="chat",
        metadata={"m": 1},
    )
    return db


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("amount", [None, 40])
def test_a_capture_spends_all_that_is_held(
    held: Ledger, way: dict[str, Any], amount: int | None
) -> None:
    row = ask(held, "capture", account_id="a", key="k", amount=amount, **way)
    created_at = row.pop("created_at")
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": 2,
        "type": "USAGE",
        "amount": -40,
        "requested_amount": -40,
        "running_balance": 60,
        "balance": 60,
        "available": 60,
        "status": "POSTED",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    assert ask(held, "get_transaction", account_id="a", key="k") == {
        "account_id": "a",
        "key": "k",
        "seq": 2,
        "type": "USAGE",
        "amount": -40,
        "requested_amount": -40,
        "running_balance": 60,
        "status": "POSTED",
        "reference": "chat",
        "external_id": None,
        "metadata": {"m": 1} | way.get("metadata", {}),
        "created_at": created_at,
        "expires_at": None,
        "original_seq": None,
        "counterparty": None,
        "usage": None,
    }
    assert ask(held, "get_balance", account_id="a")["held"] == 0
    assert pending(held) == {"k": "ENABLED"}
    assert in_order(held)


@pytest.mark.parametrize("way", WAYS)
def test_a_capture_of_less_releases_the_rest(held: Ledger, way: dict[str, Any]) -> None:
    row = ask(held, "capture", account_id="a", key="k", amount=1, **way)
    assert (row["amount"], row["requested_amount"]) == (-1, -1)
    assert (row["running_balance"], row["balance"], row["available"]) == (99, 99, 99)
    assert posted(held, "a") == [100, -1]
    assert value(held, "get_credits", account_id="a") == 99
    assert in_order(held)


@pytest.mark.parametrize("amount", [None, 15])
@pytest.mark.parametrize("way", WAYS)
def test_a_capture_is_repeated_with_its_amount_or_none(
    held: Ledger, way: dict[str, Any], amount: int | None
) -> None:
    first = ask(held, "capture", account_id="a", key="k", amount=15)
    ask(held, "spend", account_id="a", amount=5)
    again = replayed(held, "capture", account_id="a", key="k", amount=amount, **way)
    assert again == first | {"replayed": True, "balance": 80, "available": 80}
    assert posted(held, "a") == [100, -15, -5]


@pytest.mark.parametrize("amount", [14, 16, 40, HIGHEST])
def test_a_capture_of_another_amount_is_a_conflict(held: Ledger, amount: int) -> None:
    ask(held, "capture", account_id="a", key="k", amount=15)
    details = refused(held, "LG002", "capture", account_id="a", key="k", amount=amount)
    assert (details["account_id"], details["key"]) == ("a", "k")
    assert (details["recorded"]["amount"], details["recorded"]["status"]) == (-15, "POSTED")
    assert details["given"]["amount"] == -amount
    row = refused_as_row(held, "LG002", "capture", account_id="a", key="k", amount=amount)
    assert (row["requested_amount"], row["balance"]) == (-amount, 85)
    assert in_order(held)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("amount", [41, HIGHEST])
def test_more_than_was_held_is_not_captured(held: Ledger, amount: int, way: dict[str, Any]) -> None:
    given = {"account_id": "a", "key": "k", "amount": amount, **way}
    assert refused(held, "LG009", "capture", **given) == {
        "account_id": "a",
        "key": "k",
        "original": "k",
        "remaining": 40,
        "requested": amount,
    }
    row = refused_as_row(held, "LG009", "capture", **given)
    assert (row["type"], row["requested_amount"]) == ("USAGE", -amount)
    assert (row["balance"], row["available"]) == (100, 60)
    assert ask(held, "capture", account_id="a", key="k")["amount"] == -40


def test_a_released_hold_is_not_captured(held: Ledger) -> None:
    ask(held, "release", account_id="a", key="k")
    details = refused(held, "LG007", "capture", account_id="a", key="k")
    assert details == {"account_id": "a", "key": "k", "status": "CANCELLED"}
    row = refused_as_row(held, "LG007", "capture", account_id="a", key="k", amount=7)
    assert (row["requested_amount"], row["available"]) == (-7, 100)
    refused(held, "LG007", "enable_transaction", account_id="a", key="k", external_id="late")
    assert in_order(held)


@pytest.mark.parametrize("way", WAYS)
def test_an_expired_hold_is_not_captured_though_nothing_closed_it(
    held: Ledger, way: dict[str, Any]
) -> None:
    let_expire(held, "k")
    details = refused(held, "LG007", "capture", account_id="a", key="k", **way)
    assert details == {"account_id": "a", "key": "k", "status": "EXPIRED"}
    refused(held, "LG007", "enable_transaction", account_id="a", key="k", external_id="late")
    assert pending(held) == {"k": "PENDING"}
    row = ask(held, "capture", account_id="a", key="k", raise_refusals=False, **way)
    assert (row["refusal"], row["available"]) == ("LG007", 100)
    assert pending(held) == {"k": "EXPIRED"}
    refused_as_row(held, "LG007", "capture", account_id="a", key="k", **way)
    assert posted(held, "a") == [100]
    assert in_order(held)


@pytest.mark.parametrize("way", WAYS)
def test_a_hold_that_expires_while_its_capture_waits_is_not_captured(
    held: Ledger, connect: Connect, way: dict[str, Any]
) -> None:
    metadata = '{"n": 1}' if way else None
    locking = connect(autocommit=False)
    with stepped(connect, 1) as (waiting,):
        locking.execute("select from pgledger.balances where account_id = 'a' for update")
        assert waiting.start("select pgledger.capture('a', 'k', metadata => %s)", metadata)
        locking.execute("update pgledger.pending_transactions set expires_at = clock_timestamp()")
        locking.commit()
        outcome = waiting.finish()
    assert outcome.sqlstate == "LG007"
    assert outcome.error is not None
    assert '"status": "EXPIRED"' in (outcome.error.diag.message_detail or "")
    assert posted(held, "a") == [100]


@pytest.mark.parametrize(
    ("settled", "status"),
    [
        ("select pgledger.release('a', 'k')", "CANCELLED"),
        (
            (
                "update pgledger.pending_transactions set expires_at = clock_timestamp()"
                " where key = 'k'; update pgledger.balances set attention_at = clock_timestamp()"
            ),
            "EXPIRED",
        ),
    ],
)
def test_what_a_capture_took_too_early_it_gives_back(
    held: Ledger, connect: Connect, settled: LiteralString, status: str
) -> None:
    ask(held, "hold", account_id="a", amount=10, key="l")
    locking = connect(autocommit=False)
    with stepped(connect, 1) as (waiting,):
        locking.execute("select from pgledger.balances where account_id = 'a' for update")
        assert waiting.start("select * from pgledger.capture('a', 'k', raise_refusals => false)")
        locking.execute(settled)
        locking.commit()
        row = waiting.finish().row
    assert (row["status"], row["refusal"]) == ("REFUSED", "LG007")
    assert (row["balance"], row["available"]) == (100, 90)
    assert ask(held, "get_transaction", account_id="a", key="k")["status"] == status
    assert ask(held, "get_balance", account_id="a")["held"] == 10
    assert posted(held, "a") == [100]
    assert in_order(held)
    assert ask(held, "spend", account_id="a", amount=90)["seq"] == 2


@pytest.mark.parametrize("key", ["other", "#1", "#2", "paid", "#" + "x" * 200])
def test_what_is_no_hold_is_not_captured(held: Ledger, key: str) -> None:
    ask(held, "spend", account_id="a", amount=1, key="paid")
    code = "LG007" if key in {"#1", "#2", "paid"} else "LG006"
    details = refused(held, code, "capture", account_id="a", key=key)
    status = {"status": "POSTED"} if code == "LG007" else {}
    assert details == {"account_id": "a", "key": key, **status}
    row = refused_as_row(held, code, "capture", account_id="a", key=key, amount=3)
    assert (row["requested_amount"], row["available"]) == (-3, 59)


def test_an_unknown_account_has_no_hold(db: Ledger) -> None:
    given = {"account_id": "a", "key": "k"}
    assert refused(db, "LG006", "capture", **given) == given
    refused_as_row(db, "LG006", "capture", **given)


def test_a_key_belongs_to_its_account(held: Ledger) -> None:
    ask(held, "top_up", account_id="b", amount=100)
    refused(held, "LG006", "capture", account_id="b", key="k")
    ask(held, "hold", account_id="b", amount=7, key="k")
    assert ask(held, "capture", account_id="b", key="k")["balance"] == 93
    assert pending(held) == {"k": "PENDING"}
    assert in_order(held)


@pytest.mark.parametrize("way", WAYS)
def test_an_announced_credit_is_enabled_and_not_captured(db: Ledger, way: dict[str, Any]) -> None:
    ask(db, "top_up", account_id="a", amount=100, key="k", is_active=False)
    given = {"account_id": "a", "key": "k", **way}
    assert refused(db, "22023", "capture", **given)["parameter"] == "key"
    refused(db, "22023", "capture", **given, raise_refusals=False)
    ask(db, "enable_transaction", account_id="a", key="k")
    refused(db, "22023", "capture", **given)
    assert posted(db, "a") == [100]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("amount", [None, 15])
def test_a_hold_made_before_the_freeze_is_captured(
    held: Ledger, way: dict[str, Any], amount: int | None
) -> None:
    ask(held, "set_account_status", account_id="a", status="FROZEN")
    row = ask(held, "capture", account_id="a", key="k", amount=amount, **way)
    assert row["balance"] == row["available"] == 100 - (amount or 40)
    assert in_order(held)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_reserved_is_captured_whatever_the_floor_says_now(
    held: Ledger, way: dict[str, Any]
) -> None:
    ask(
        held,
        "add_transaction",
        account_id="a",
        amount=-500,
        type="ADJUSTMENT",
        fail_insufficient_credits=False,
    )
    row = ask(held, "capture", account_id="a", key="k", **way)
    assert (row["balance"], row["available"]) == (-440, -440)
    assert in_order(held)


@pytest.mark.parametrize("way", WAYS)
def test_enabling_a_hold_is_its_capture(held: Ledger, way: dict[str, Any]) -> None:
    given = {"account_id": "a", "key": "k", "amount": 41}
    assert refused(held, "LG009", "enable_transaction", **given)["remaining"] == 40
    assert refused_as_row(held, "LG009", "enable_transaction", **given)["requested_amount"] == -41
    row = ask(held, "enable_transaction", account_id="a", key="k", amount=15, **way)
    assert (row["amount"], row["balance"], row["available"]) == (-15, 85, 85)
    replayed(held, "capture", account_id="a", key="k", amount=15)
    replayed(held, "enable_transaction", account_id="a", key="k", amount=15)
    refused(held, "LG002", "enable_transaction", account_id="a", key="k", amount=16)
    assert in_order(held)


def test_a_hold_that_was_announced_by_its_payment_is_captured_with_it(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    for key, way in (("fast", {}), ("slow", {"metadata": {"n": 1}})):
        given = {"account_id": "a", "amount": -5, "type": "CARD_CHECK", "external_id": key}
        ask(db, "add_transaction", **given, key=key, is_active=False, reference="r")
        row = ask(db, "capture", account_id="a", key=key, **way)
        assert row["type"] == "CARD_CHECK"
        recorded = ask(db, "get_transaction", account_id="a", key=key)
        assert (recorded["external_id"], recorded["reference"]) == (key, "r")
        assert replayed(db, "add_transaction", **given, key="again")["key"] == key
    assert in_order(db)


def test_captures_are_posted_in_the_order_of_time(held: Ledger) -> None:
    held.execute("update pgledger.balances set updated_at = '2100-01-01 00:00Z'")
    ask(held, "hold", account_id="a", amount=1, key="l")
    fast = ask(held, "capture", account_id="a", key="k")
    slow = ask(held, "capture", account_id="a", key="l", metadata={"n": 1})
    assert fast["created_at"].year == slow["created_at"].year == 2100
    assert in_order(held)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("balance", "amount", "captured"),
    [
        (-1, HIGHEST, HIGHEST),
        (0, HIGHEST, HIGHEST),
        (HIGHEST, HIGHEST, 1),
        (LOWEST + 1, 1, 1),
        (LOWEST + 2, 2, 1),
    ],
)
def test_a_capture_at_the_edges_of_bigint(
    db: Ledger, way: dict[str, Any], balance: int, amount: int, captured: int
) -> None:
    ask(db, "open_account", account_id="a", min_balance=LOWEST)
    db.execute("update pgledger.balances set balance = %s", [balance])
    ask(db, "hold", account_id="a", amount=amount, key="k")
    row = ask(db, "capture", account_id="a", key="k", amount=captured, **way)
    assert row["balance"] == row["available"] == balance - captured


def test_metadata_that_grows_too_large_by_merging_is_refused(held: Ledger) -> None:
    ask(held, "hold", account_id="a", amount=1, key="l", metadata={"x": "x" * 40_000})
    details = refused(
        held, "22023", "capture", account_id="a", key="l", metadata={"y": "y" * 40_000}
    )
    assert details["parameter"] == "metadata"
    assert ask(held, "capture", account_id="a", key="l")["status"] == "POSTED"


def test_a_capture_that_is_rolled_back_left_the_hold_open(held: Ledger) -> None:
    before = everything(held)
    with held.transaction(force_rollback=True):
        ask(held, "capture", account_id="a", key="k")
    assert everything(held) == before
    assert ask(held, "capture", account_id="a", key="k")["replayed"] is False
    assert events(held) == []


def test_a_lost_balance_row_comes_back_for_a_capture(held: Ledger) -> None:
    held.execute("delete from pgledger.balances")
    row = ask(held, "capture", account_id="a", key="k", amount=10)
    assert (row["seq"], row["balance"], row["available"]) == (2, 90, 90)
    assert in_order(held)


def test_a_hold_recorded_under_another_key_reserves_nothing_any_more(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "hold", account_id="a", amount=10, key="h")
    given = {"account_id": "a", "external_id": "e1"}
    ask(db, "add_transaction", **given, amount=-10, type="USAGE", key="other")
    answer = ask(db, "enable_transaction", **given, key="h")
    assert (answer["key"], answer["replayed"]) == ("other", True)
    assert (answer["balance"], answer["available"]) == (90, 90)
    refused(db, "LG007", "capture", account_id="a", key="h")
    assert in_order(db)
