"""decline_top_up: what the provider does not pay is tried again, later and not for ever."""

from typing import Any

import pytest

from tests.support import Ledger, ask, ask_all, events, everything, in_order, pending, refused
from tests.top_ups import KEY, armed_below, charge, come_due, decline, owe, settings


@pytest.fixture
def owing(db: Ledger) -> Ledger:
    """An account whose auto-top-up was claimed."""
    owe(db)
    ask(db, "claim_top_ups")
    return db


def failures(db: Ledger) -> list[dict[str, Any]]:
    return [payload for kind, payload in events(db) if kind == "top_up_failed"]


def unchanged(db: Ledger, **given: object) -> dict[str, Any]:
    """Decline what has no effect, and return the answer."""
    before = everything(db)
    row = ask(db, "decline_top_up", **{"account_id": "a", "key": KEY, "reason": "x"} | given)
    assert row["replayed"] is True
    assert everything(db) == before
    return row


def test_a_declined_charge_is_due_again_later_as_another_attempt(owing: Ledger) -> None:
    before = ask(owing, "get_transaction", account_id="a", key=KEY)
    first_key = decline_key(owing)
    row = decline(owing, 0, provider="stripe", payment_id="pi_1")
    told = {"status": "PENDING", "replayed": False, "attempt": 1, "claims": 0, "amount": 200}
    assert {name: row[name] for name in told} == told
    assert row["idempotency_key"] != first_key
    assert charge(owing) == {
        "due": True,
        "claims": 0,
        "declines": 1,
        "reason": "card_declined",
        "minutes": 60,
    }
    (failure,) = failures(owing)
    assert failure.pop("next_attempt_at") is not None
    assert failure == {
        "key": KEY,
        "amount": 200,
        "reason": "card_declined",
        "provider": "stripe",
        "payment_id": "pi_1",
        "declines": 1,
        "final": False,
    }
    assert ask(owing, "get_transaction", account_id="a", key=KEY) == before
    assert (settings(owing)["waiting_for"], armed_below(owing)) == (KEY, None)
    assert ask_all(owing, "claim_top_ups") == []
    come_due(owing)
    assert ask(owing, "claim_top_ups")["claims"] == 1
    assert in_order(owing)


def decline_key(db: Ledger) -> str:
    (row,) = db.execute("select pgledger._provider_key('a', %s, 0) as key", [KEY]).fetchall()
    return str(row["key"])


def test_the_pauses_grow_and_the_fourth_decline_switches_the_auto_top_up_off(
    owing: Ledger,
) -> None:
    for attempt, minutes in enumerate((60, 6 * 60, 24 * 60)):
        decline(owing, attempt)
        assert charge(owing)["minutes"] == minutes
        come_due(owing)
        assert ask(owing, "claim_top_ups")["attempt"] == attempt + 1
    row = decline(owing, 3, reason="expired_card")
    assert (row["status"], row["replayed"], row["due_at"]) == ("CANCELLED", False, None)
    assert pending(owing) == {KEY: "CANCELLED"}
    assert [failure["final"] for failure in failures(owing)] == [False, False, False, True]
    assert failures(owing)[3] == {
        "key": KEY,
        "amount": 200,
        "reason": "expired_card",
        "provider": None,
        "payment_id": None,
        "declines": 4,
        "final": True,
        "auto_top_up": "disabled",
    }
    told = settings(owing)
    assert (told["enabled"], told["waiting_for"], armed_below(owing)) == (False, None, None)
    ask(owing, "spend", account_id="a", amount=30)
    assert len(pending(owing)) == 1
    come_due(owing)
    assert ask_all(owing, "claim_top_ups") == []
    assert in_order(owing)


@pytest.mark.parametrize("attempts", [0, 2])
def test_giving_up_switches_it_off_at_once(owing: Ledger, attempts: int) -> None:
    for attempt in range(attempts):
        decline(owing, attempt)
    row = decline(owing, attempts, give_up=True, reason="no card on file")
    assert (row["status"], row["attempt"]) == ("CANCELLED", attempts + 1)
    assert failures(owing)[-1]["auto_top_up"] == "disabled"
    assert settings(owing)["enabled"] is False
    (reason,) = owing.execute("select reason from pgledger.pending_transactions").fetchall()
    assert reason["reason"] == "no card on file"
    assert in_order(owing)


def test_set_again_it_asks_again(owing: Ledger) -> None:
    decline(owing, 0, give_up=True)
    ask(owing, "set_auto_top_up", account_id="a", threshold=50, amount=200)
    assert armed_below(owing) == 50
    ask(owing, "spend", account_id="a", amount=1)
    row = ask(owing, "claim_top_ups")
    assert (row["key"], row["attempt"], row["claims"]) == ("#auto-2", 0, 1)
    assert in_order(owing)


def test_an_attempt_counts_once(owing: Ledger) -> None:
    decline(owing, 0)
    assert unchanged(owing, attempt=0)["attempt"] == 1
    assert unchanged(owing, attempt=0, give_up=True)["status"] == "PENDING"
    decline(owing, 1)
    for attempt in (0, 1):
        assert unchanged(owing, attempt=attempt)["attempt"] == 2
    assert len(failures(owing)) == 2
    assert in_order(owing)


def test_the_last_attempt_counts_once_too(owing: Ledger) -> None:
    decline(owing, 0, give_up=True)
    for attempt in (0, 1):
        assert unchanged(owing, attempt=attempt)["status"] == "CANCELLED"
    assert in_order(owing)


@pytest.mark.parametrize(
    ("verb", "status"), [("enable_transaction", "POSTED"), ("cancel_transaction", "CANCELLED")]
)
def test_what_was_settled_is_not_declined_any_more(owing: Ledger, verb: str, status: str) -> None:
    ask(owing, verb, account_id="a", key=KEY)
    assert unchanged(owing, attempt=0)["status"] == status
    assert unchanged(owing, attempt=0, give_up=True)["status"] == status
    assert settings(owing)["enabled"] is True
    assert in_order(owing)


def test_money_that_comes_after_the_last_decline_is_credited(owing: Ledger) -> None:
    decline(owing, 0, give_up=True)
    row = ask(owing, "enable_transaction", account_id="a", key=KEY, external_id="pi_late")
    assert row["balance"] == 240
    assert unchanged(owing, attempt=0)["status"] == "POSTED"
    assert in_order(owing)


def test_an_attempt_that_was_never_made_is_refused(owing: Ledger) -> None:
    given = {"account_id": "a", "key": KEY, "reason": "x"}
    assert refused(owing, "22023", "decline_top_up", **given, attempt=1)["parameter"] == "attempt"
    decline(owing, 0)
    refused(owing, "22023", "decline_top_up", **given, attempt=2)
    refused(owing, "22023", "decline_top_up", **given, attempt=-1)
    refused(owing, "22004", "decline_top_up", **given, attempt=None)


def test_only_the_intent_of_an_auto_top_up_is_declined(owing: Ledger) -> None:
    ask(owing, "create_top_up", account_id="a", amount=5, key="k")
    for account_id, key in (("a", "k"), ("a", "#auto-2"), ("nobody", KEY), ("a", "#1")):
        given = {"account_id": account_id, "key": key, "attempt": 0, "reason": "x"}
        details = refused(owing, "LG006", "decline_top_up", **given)
        assert details == {"account_id": account_id, "key": key}


def test_a_decline_without_a_reason_is_one(owing: Ledger) -> None:
    decline(owing, 0, reason=None)
    assert (charge(owing)["reason"], failures(owing)[0]["reason"]) == (None, None)


def test_what_changed_settings_do_not_wait_for_is_not_tried_again(owing: Ledger) -> None:
    ask(owing, "set_auto_top_up", account_id="a", threshold=50, amount=300)
    ask(owing, "spend", account_id="a", amount=1)
    row = decline(owing, 0)
    assert row["status"] == "CANCELLED"
    assert [(f["final"], f["auto_top_up"]) for f in failures(owing)] == [(True, "enabled")]
    told = settings(owing)
    assert (told["enabled"], told["waiting_for"], armed_below(owing)) == (True, "#auto-2", None)
    assert in_order(owing)


@pytest.mark.parametrize("give_up", [True, False])
def test_what_changed_settings_do_not_wait_for_leaves_them_armed(
    owing: Ledger, *, give_up: bool
) -> None:
    ask(owing, "set_auto_top_up", account_id="a", threshold=30, amount=300)
    decline(owing, 0, give_up=give_up)
    assert (settings(owing)["enabled"], armed_below(owing)) == (True, 30)
    assert in_order(owing)


def test_what_was_switched_off_stays_so(owing: Ledger) -> None:
    ask(owing, "set_auto_top_up", account_id="a", threshold=50, amount=200, enabled=False)
    decline(owing, 0)
    assert pending(owing) == {KEY: "CANCELLED"}
    assert failures(owing)[0]["auto_top_up"] == "disabled"
    assert in_order(owing)


def test_one_account_is_declined_and_no_other(owing: Ledger) -> None:
    owe(owing, "b")
    ask(owing, "top_up", account_id="c", amount=100)
    ask(owing, "set_auto_top_up", account_id="c", threshold=50, amount=200)
    decline(owing, 0, give_up=True)
    assert armed_below(owing, "c") == 50
    assert failures(owing)[0]["auto_top_up"] == "disabled"
    assert charge(owing, account_id="b")["due"] is True
    assert settings(owing, "b")["enabled"] is True
    assert armed_below(owing, "b") is None
    assert pending(owing, "b") == {KEY: "PENDING"}
    ask(owing, "claim_top_ups")
    ask(owing, "decline_top_up", account_id="b", key=KEY, attempt=0, reason="x")
    assert charge(owing)["declines"] == 1
    assert in_order(owing)


def test_other_settings_that_changed_do_not_end_it(owing: Ledger) -> None:
    owe(owing, "b")
    ask(owing, "set_auto_top_up", account_id="a", threshold=50, amount=300)
    assert decline(owing, 0, account_id="b")["status"] == "PENDING"
    assert decline(owing, 0)["status"] == "CANCELLED"
    assert in_order(owing)


def test_a_cancelled_intent_counts_for_no_limit_and_a_declined_one_does(owing: Ledger) -> None:
    ask(owing, "cancel_transaction", account_id="a", key=KEY)
    given = {"account_id": "a", "threshold": 50, "amount": 200, "daily_count_limit": 1}
    ask(owing, "set_auto_top_up", **given)
    ask(owing, "spend", account_id="a", amount=1)
    decline(owing, 0, key="#auto-2")
    assert settings(owing)["waiting_for"] == "#auto-2"
    ask(owing, "set_auto_top_up", **given | {"threshold": 51})
    ask(owing, "spend", account_id="a", amount=1)
    assert settings(owing)["resumes_at"] is not None
    assert in_order(owing)


def test_the_pauses_are_as_long_in_a_night_without_an_hour(owing: Ledger) -> None:
    owing.execute("set timezone = 'Europe/Berlin'")
    (row,) = owing.execute(
        "select timestamptz '2026-03-28 12:00Z' + pgledger._decline_pause(3) as at"
    ).fetchall()
    assert row["at"].isoformat() == "2026-03-29T14:00:00+02:00"
