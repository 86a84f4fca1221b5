"""The readers of payments: list_payments, list_payment_events, get_payment_event; and verify."""

import pytest

from tests.payments import announce, handle, receive, tell
from tests.support import Ledger, ask, ask_all, in_order


def ids(db: Ledger, **given: object) -> list[str]:
    return [row["payment_id"] for row in ask_all(db, "list_payments", **given)]


def received(db: Ledger, **given: object) -> list[str]:
    return [row["event_id"] for row in ask_all(db, "list_payment_events", **given)]


def test_payments_come_the_latest_first(db: Ledger) -> None:
    for payment_id in ("p", "q", "r"):
        tell(db, payment_id=payment_id, amount=5, key=payment_id)
    assert ids(db) == ["r", "q", "p"]
    assert ids(db, limit_count=2) == ["r", "q"]
    rows = {row["payment_id"]: row for row in ask_all(db, "list_payments")}
    assert ids(db, until=rows["q"]["created_at"]) == ["p"]
    assert ids(db, since=rows["q"]["created_at"]) == ["r", "q"]
    assert rows["p"] == tell(db, amount=5, key="p")


def test_payments_are_those_of_a_provider_and_an_account(db: Ledger) -> None:
    tell(db, amount=5)
    tell(db, payment_id="q", account_id="b", amount=5)
    tell(db, payment_id="r", provider="other", amount=5)
    assert ids(db, account_id="a") == ["r", "p"]
    assert ids(db, provider="test") == ["q", "p"]
    assert ids(db, account_id="b", provider="other") == []


def test_unmatched_ones_succeeded_and_are_not_credited(db: Ledger) -> None:
    tell(db, amount=5)
    tell(db, "FAILED", payment_id="q")
    tell(db, "PROCESSING", payment_id="r")
    tell(db, payment_id="s", account_id=None)
    assert ids(db, unmatched=True) == ["s"]
    assert ids(db, unmatched=None) == ids(db, unmatched=False) == ["s", "r", "q", "p"]


def test_payments_of_one_instant_have_an_order(db: Ledger) -> None:
    for payment_id in ("p", "r", "q"):
        tell(db, "PROCESSING", payment_id=payment_id)
    db.execute("update pgledger.payments set created_at = '2024-01-01'")
    assert ids(db) == ["p", "q", "r"]


def test_events_come_the_latest_first_without_their_payload(db: Ledger) -> None:
    handle(db, event_id="e")
    handle(db, {"record": "nonsense"}, event_id="f")
    last = receive(db, "g")
    receive(db, "h", provider="other")
    assert received(db) == ["h", "g", "f", "e"]
    assert received(db, before=last["received_at"]) == ["f", "e"]
    assert received(db, limit_count=1) == ["h"]
    assert received(db, provider="other") == ["h"]
    for status, event_id in (("IGNORED", "e"), ("FAILED", "f"), ("RECEIVED", "g")):
        assert received(db, status=status, provider="test") == [event_id]
    (row,) = ask_all(db, "list_payment_events", status="FAILED")
    assert row == receive(db, "f")
    assert "payload" not in row


def test_an_event_is_shown_with_its_payload(db: Ledger) -> None:
    receive(db, payload='{"secret": 1}')
    row = ask(db, "get_payment_event", provider="test", event_id="e")
    assert row["payload"] == '{"secret": 1}'
    assert ask_all(db, "get_payment_event", provider="test", event_id="f") == []
    assert ask_all(db, "get_payment_event", provider="other", event_id="e") == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("seq = 9", "a payment that was credited has its top-up"),
        ("seq = 2", "a payment that was credited has its top-up"),
        ("seq = 3", "a payment that was credited has its top-up"),
        ("amount = 99", "a payment and its top-up are of one amount"),
        ("amount = null", "a payment and its top-up are of one amount"),
        ("seq = 4", "the top-up of a payment has its id"),
        ("account_id = 'nobody'", "a payment that was credited has its top-up"),
    ],
)
def test_verify_finds_a_payment_that_is_not_what_the_journal_says(
    db: Ledger, change: str, rule: str
) -> None:
    announce(db)
    tell(db)
    ask(db, "grant_credits", account_id="a", amount=100)
    ask(db, "add_transaction", account_id="a", amount=-100, type="TOP_UP")
    ask(db, "top_up", account_id="a", amount=100, external_id="other")
    assert in_order(db)
    db.execute(f"update pgledger.payments set {change}")
    assert rule in [row["rule"] for row in ask_all(db, "verify")]
