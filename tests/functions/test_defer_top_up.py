"""defer_top_up: what is not known yet is asked again."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support import Ledger, ask, ask_all, events, everything, in_order, refused
from tests.top_ups import KEY, charge, come_due, decline, owe, settings


@pytest.fixture
def owing(db: Ledger) -> Ledger:
    """An account whose auto-top-up was claimed."""
    owe(db)
    ask(db, "claim_top_ups")
    return db


def defer(db: Ledger, attempt: int, **given: object) -> dict[str, Any]:
    return ask(db, "defer_top_up", account_id="a", key=KEY, attempt=attempt, **given)


@pytest.mark.parametrize(("pause", "minutes"), [(None, 5), (1, 1), (600, 600)])
def test_it_is_claimed_again_after_the_pause_as_the_same_attempt(
    owing: Ledger, pause: int | None, minutes: int
) -> None:
    given = {} if pause is None else {"pause": timedelta(minutes=pause)}
    row = defer(owing, 0, **given, reason="processing")
    told = {"status": "PENDING", "replayed": False, "attempt": 0, "claims": 1, "amount": 200}
    assert {name: row[name] for name in told} == told
    assert charge(owing) == {
        "due": True,
        "claims": 1,
        "declines": 0,
        "reason": "processing",
        "minutes": minutes,
    }
    assert ask_all(owing, "claim_top_ups") == []
    assert [kind for kind, _ in events(owing)] == ["top_up_requested"]
    come_due(owing)
    again = ask(owing, "claim_top_ups")
    assert (again["claims"], again["idempotency_key"]) == (2, row["idempotency_key"])
    assert settings(owing)["waiting_for"] == KEY
    assert in_order(owing)


def unchanged(db: Ledger, attempt: int) -> dict[str, Any]:
    before = everything(db)
    row = defer(db, attempt, pause=timedelta(days=9), reason="late")
    assert row["replayed"] is True
    assert everything(db) == before
    return row


def test_what_was_declined_meanwhile_waits_out_its_pause(owing: Ledger) -> None:
    decline(owing, 0)
    assert unchanged(owing, 0)["attempt"] == 1
    assert unchanged(owing, 1)["claims"] == 0
    come_due(owing)
    ask(owing, "claim_top_ups")
    assert unchanged(owing, 0)["attempt"] == 1
    assert defer(owing, 1)["replayed"] is False
    assert in_order(owing)


@pytest.mark.parametrize(
    ("verb", "status"), [("enable_transaction", "POSTED"), ("cancel_transaction", "CANCELLED")]
)
def test_what_was_settled_is_not_charged_again(owing: Ledger, verb: str, status: str) -> None:
    ask(owing, verb, account_id="a", key=KEY)
    assert unchanged(owing, 0)["status"] == status
    assert charge(owing)["due"] is False
    assert in_order(owing)


def test_only_a_charge_is_put_off(owing: Ledger) -> None:
    owe(owing, "b")
    ask(owing, "create_top_up", account_id="a", amount=5, key="k")
    for account_id, key in (("a", "k"), ("a", "#auto-2"), ("nobody", KEY)):
        refused(owing, "LG006", "defer_top_up", account_id=account_id, key=key, attempt=0)
    refused(owing, "22023", "defer_top_up", account_id="a", key=KEY, attempt=1)
    defer(owing, 0, pause=timedelta(days=1))
    assert charge(owing, account_id="b")["minutes"] == 0
