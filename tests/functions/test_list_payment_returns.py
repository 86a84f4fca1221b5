import pytest

from tests.returns import dispute, pay, refund
from tests.support import Ledger, ask, ask_all, let_pass, refused


@pytest.fixture
def filled(db: Ledger) -> Ledger:
    """Refunds and disputes of three payments, two of them credited, in three days."""
    pay(db)
    refund(db, "re_1", 300, "SUCCEEDED", occurred_at="2026-01-01", request_key="asked")
    let_pass(db, "1 day")
    dispute(db, "dp_1", 200, "OPEN", policy="DEDUCT")
    let_pass(db, "1 day")
    pay(db, "pi_2", account_id="b")
    refund(db, "re_2", 100, "PENDING", payment_id="pi_2")
    told = {"provider": "other", "refund_id": "re_3", "payment_id": "pi_3", "amount": 5}
    ask(db, "record_payment_refund", **told, status="FAILED")
    return db


def listed(db: Ledger, **given: object) -> list[str]:
    return [row["return_id"] for row in ask_all(db, "list_payment_returns", **given)]


def test_a_refund_and_a_dispute_are_listed_with_what_they_took(filled: Ledger) -> None:
    newer, older = ask_all(filled, "list_payment_returns", account_id="a")
    assert older.pop("created_at") < newer.pop("created_at")
    assert older.pop("updated_at") < newer.pop("updated_at")
    assert older.pop("occurred_at").year == 2025  # Two days have passed since.
    assert older == {
        "provider": "stripe",
        "return_id": "re_1",
        "payment_id": "pi_1",
        "kind": "REFUND",
        "amount": 300,
        "currency": "usd",
        "status": "SUCCEEDED",
        "policy": None,
        "request_key": "asked",
        "account_id": "a",
        "taken": 30,
    }
    assert newer == {
        "provider": "stripe",
        "return_id": "dp_1",
        "payment_id": "pi_1",
        "kind": "DISPUTE",
        "amount": 200,
        "currency": "usd",
        "status": "OPEN",
        "policy": "DEDUCT",
        "request_key": None,
        "account_id": "a",
        "taken": 20,
        "occurred_at": None,
    }


def test_those_of_nobody_are_listed_too(filled: Ledger) -> None:
    (row,) = ask_all(filled, "list_payment_returns", provider="other")
    assert (row["return_id"], row["account_id"], row["currency"]) == ("re_3", None, None)


def test_the_latest_come_first_and_page_by_page(filled: Ledger) -> None:
    every = ["re_3", "re_2", "dp_1", "re_1"]
    assert listed(filled) == every
    seen: list[str] = []
    until = None
    while page := ask_all(filled, "list_payment_returns", until=until, limit_count=1):
        seen += [row["return_id"] for row in page]
        until = page[-1]["created_at"]
    assert seen == every


def test_they_are_found_by_provider_payment_account_and_time(filled: Ledger) -> None:
    assert listed(filled, provider="stripe") == ["re_2", "dp_1", "re_1"]
    assert listed(filled, payment_id="pi_1") == ["dp_1", "re_1"]
    assert listed(filled, account_id="b") == ["re_2"]
    (row,) = ask_all(filled, "list_payment_returns", payment_id="pi_1", limit_count=1)
    assert listed(filled, since=row["created_at"]) == ["re_3", "re_2", "dp_1"]
    assert listed(filled, until=row["created_at"]) == ["re_1"]
    assert listed(filled, account_id="nobody") == []


def test_a_page_and_an_account_have_bounds(filled: Ledger) -> None:
    refused(filled, "22023", "list_payment_returns", limit_count=0)
    refused(filled, "22023", "list_payment_returns", account_id="")
