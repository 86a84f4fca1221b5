"""Disputes that the provider tells of: what they take, and whom they freeze."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.returns import balance, dispute, pay, refund, returns, takes, told
from tests.support import (
    Ledger,
    ask,
    ask_all,
    day,
    events,
    everything,
    in_order,
    journal,
    let_pass,
    posted,
    refused,
    replayed,
)

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = EARLY + timedelta(seconds=1)
POLICIES = ["FLAG", "FREEZE", "DEDUCT"]


def tidings(db: Ledger) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of account a but for those that tell of payments."""
    return [(kind, payload) for kind, payload in events(db) if kind != "top_up_paid"]


def status(db: Ledger, account_id: str = "a") -> str:
    """Return the status of an account."""
    (row,) = db.execute(
        "select status::text from pgledger.accounts where account_id = %s", [account_id]
    )
    assert isinstance(row["status"], str)
    return row["status"]


def audited(db: Ledger) -> list[dict[str, str]]:
    """Return what disputes did to account a, oldest first."""
    found = db.execute(
        "select arguments from pgledger.audit_log where act = 'record_dispute'"
        " and account_id = 'a' order by created_at"
    )
    return [row["arguments"] for row in found]


def set_status(db: Ledger, status: str) -> None:
    ask(db, "set_account_status", account_id="a", status=status)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("facts", "taken"),
    [
        (["OPEN"], {"DEDUCT": 40}),
        (["OPEN", "LOST"], dict.fromkeys(POLICIES, 40)),
        (["OPEN", "WON"], {}),
        (["LOST"], dict.fromkeys(POLICIES, 40)),
        (["WON"], {}),
        (["LOST", "OPEN"], dict.fromkeys(POLICIES, 40)),
        (["WON", "OPEN"], {}),
        (["LOST", "WON"], {}),
        (["WON", "LOST", "OPEN"], {}),
    ],
)
@pytest.mark.parametrize("credited", ["before", "after"])
def test_a_dispute_takes_when_it_is_lost_or_open_under_deduct(
    db: Ledger, policy: str, facts: list[str], taken: dict[str, int], credited: str
) -> None:
    if credited == "before":
        pay(db)
    for fact in facts * 2:
        row = dispute(db, "dp_1", 400, fact, policy=policy)
    assert row["disputed"] == (0 if "WON" in facts else 400)
    if credited == "after":
        pay(db)
    assert takes(db) == {"dp_1": taken.get(policy, 0)}
    assert balance(db) == 100 - taken.get(policy, 0)
    frozen = policy == "FREEZE" and "WON" not in facts
    assert status(db) == ("FROZEN" if frozen else "OPEN")
    assert in_order(db)


def test_what_it_takes_is_a_refund_of_the_top_up_under_its_id(db: Ledger) -> None:
    pay(db)
    ask(db, "spend", account_id="a", amount=90)
    row = dispute(db, "dp_1", 1000, "LOST")
    assert (row["taken"], row["disputed"], row["refunded"]) == (100, 1000, 0)
    movement = ask(db, "get_transaction", account_id="a", key="#stripe-dp_1-1")
    assert (movement["type"], movement["amount"]) == ("REFUND", -100)
    assert (movement["original_seq"], movement["external_id"]) == (1, "dp_1")
    assert movement["metadata"]["kind"] == "DISPUTE"
    dispute(db, "dp_1", 1000, "WON")
    assert journal(db) == [("TOP_UP", 100), ("USAGE", -90), ("REFUND", -100), ("REVERSAL", 100)]
    movement = ask(db, "get_transaction", account_id="a", key="#stripe-dp_1-2")
    assert (movement["original_seq"], movement["external_id"]) == (3, "dp_1")
    assert told(db)["disputed"] == 0
    assert in_order(db)


def test_refunds_and_lost_disputes_together_take_all_credits_at_most(db: Ledger) -> None:
    pay(db)
    refund(db, "re_1", 600, "SUCCEEDED")
    dispute(db, "dp_1", 1000, "LOST")
    assert takes(db) == {"dp_1": 40, "re_1": 60}
    dispute(db, "dp_1", 1000, "WON")
    assert takes(db) == {"dp_1": 0, "re_1": 60}
    refund(db, "re_1", 600, "FAILED")
    assert balance(db) == 100
    assert in_order(db)


def test_what_a_failed_refund_gives_back_a_lost_dispute_takes(db: Ledger) -> None:
    pay(db)
    refund(db, "re_1", 1000, "SUCCEEDED")
    dispute(db, "dp_1", 300, "LOST")
    assert takes(db) == {"dp_1": 0, "re_1": 100}
    refund(db, "re_1", 1000, "FAILED")
    assert balance(db) == 70
    assert sum(takes(db).values()) == 30
    dispute(db, "dp_1", 300, "WON")
    assert balance(db) == 100
    assert in_order(db)


def test_a_chargeback_by_the_application_under_its_id_is_not_taken_again(db: Ledger) -> None:
    pay(db)
    given = {"account_id": "a", "original_key": "#1", "amount": 100, "external_id": "dp_1"}
    ask(db, "refund", **given, fail_insufficient_credits=False)
    dispute(db, "dp_1", 1000, "OPEN")
    assert balance(db) == 100  # Open, it does not take yet.
    dispute(db, "dp_1", 1000, "LOST")
    assert balance(db) == 0
    dispute(db, "dp_2", 1000, "LOST")
    assert replayed(db, "refund", **given)["seq"] == 2
    assert in_order(db)


# The outbox


def test_the_first_that_is_heard_of_a_dispute_is_told(db: Ledger) -> None:
    pay(db)
    for fact in ("OPEN", "OPEN", "LOST", "WON"):
        dispute(db, "dp_1", 400, fact, policy="DEDUCT", reason="fraudulent")
    dispute(db, "dp_2", 100, "LOST")
    assert tidings(db) == [
        (
            "dispute_opened",
            {
                "provider": "stripe",
                "dispute_id": "dp_1",
                "payment_id": "pi_1",
                "amount": 400,
                "currency": "usd",
                "status": "OPEN",
                "reason": "fraudulent",
                "policy": "DEDUCT",
            },
        ),
        (
            "dispute_opened",
            {
                "provider": "stripe",
                "dispute_id": "dp_2",
                "payment_id": "pi_1",
                "amount": 100,
                "currency": "usd",
                "status": "LOST",
                "reason": None,
                "policy": "FLAG",
            },
        ),
    ]


@pytest.mark.parametrize("first", ["OPEN", "LOST", "WON"])
def test_a_dispute_is_told_once_whatever_was_heard_of_it_first(db: Ledger, first: str) -> None:
    pay(db)
    # Over before anybody knew of it: what there is to know is that it was.
    for fact in (first, "OPEN", "LOST", "WON", first):
        dispute(db, "dp_1", 400, fact)
    assert [(kind, payload["status"]) for kind, payload in tidings(db)] == [
        ("dispute_opened", first)
    ]


def test_a_dispute_of_nobodys_payment_is_told_of_payments(db: Ledger) -> None:
    dispute(db, "dp_1", 400, "OPEN", policy="FREEZE")
    assert [kind for kind, _ in events(db, "#payments")] == ["dispute_opened"]
    assert in_order(db)
    pay(db)
    assert status(db) == "FROZEN"
    assert [kind for kind, _ in tidings(db)] == ["account_frozen"]
    assert ask(db, "claim_events", limit_count=1)["account_id"] in {"a", "#payments"}
    assert in_order(db)


# Freezing


def test_an_open_dispute_freezes_and_a_won_one_opens_again(db: Ledger) -> None:
    pay(db)
    dispute(db, "dp_1", 400, "OPEN", policy="FREEZE")
    assert status(db) == "FROZEN"
    refused(db, "LG004", "spend", account_id="a", amount=1)
    assert refund(db, "re_1", 100, "SUCCEEDED")["taken"] == 10
    dispute(db, "dp_1", 400, "WON", policy="FREEZE")
    assert status(db) == "OPEN"
    assert ask(db, "spend", account_id="a", amount=1)["balance"] == 89
    assert [kind for kind, _ in tidings(db)] == ["dispute_opened", "account_frozen"]
    told_of = {"provider": "stripe", "dispute_id": "dp_1", "payment_id": "pi_1"}
    assert audited(db) == [told_of | {"status": "FROZEN"}, told_of | {"status": "OPEN"}]
    for fact in ("OPEN", "WON"):
        dispute(db, "dp_1", 400, fact, policy="FREEZE")
    assert len(audited(db)) == 2
    assert in_order(db)


def test_a_lost_dispute_leaves_it_frozen_until_somebody_opens_it(db: Ledger) -> None:
    pay(db)
    dispute(db, "dp_1", 400, "LOST", policy="FREEZE")
    assert status(db) == "FROZEN"
    set_status(db, "OPEN")
    for amount in (400, 500):
        dispute(db, "dp_1", amount, "LOST", policy="FREEZE")
    refund(db, "re_1", 100, "SUCCEEDED")
    assert status(db) == "OPEN"
    assert len(audited(db)) == 1


def test_a_dispute_that_opens_again_freezes_again(db: Ledger) -> None:
    pay(db)
    for days, fact in enumerate(["OPEN", "WON", "OPEN", "WON"]):
        dispute(db, "dp_1", 400, fact, policy="FREEZE", occurred_at=EARLY + timedelta(days=days))
        assert status(db) == ("FROZEN" if fact == "OPEN" else "OPEN")
    assert len(audited(db)) == 4


def test_a_policy_that_changes_to_freeze_freezes(db: Ledger) -> None:
    pay(db)
    dispute(db, "dp_1", 400, "OPEN", policy="FLAG", occurred_at=EARLY)
    assert status(db) == "OPEN"
    dispute(db, "dp_1", 400, "OPEN", policy="FREEZE", occurred_at=LATE)
    assert status(db) == "FROZEN"
    dispute(db, "dp_1", 400, "WON", policy="FLAG", occurred_at=LATE)
    assert status(db) == "OPEN"


@pytest.mark.parametrize("policies", [["FREEZE", "DEDUCT"], ["DEDUCT", "FREEZE"]])
def test_of_two_policies_of_one_instant_the_stricter_counts(
    db: Ledger, policies: list[str]
) -> None:
    for policy in policies:
        dispute(db, "dp_1", 400, "OPEN", policy=policy)
    pay(db)
    assert takes(db) == {"dp_1": 40}


@pytest.mark.parametrize("first", ["dp_1", "dp_2"])
@pytest.mark.parametrize("payment_id", ["pi_1", "pi_2"])
def test_two_disputes_keep_it_frozen_until_both_are_won(
    db: Ledger, first: str, payment_id: str
) -> None:
    pay(db)
    pay(db, "pi_2")
    given = {
        "dp_1": {"payment_id": "pi_1", "policy": "FREEZE"},
        "dp_2": {"payment_id": payment_id, "policy": "FREEZE"},
    }
    for dispute_id, told_of in given.items():
        dispute(db, dispute_id, 100, "OPEN", **told_of)
    dispute(db, first, 100, "WON", **given.pop(first))
    assert status(db) == "FROZEN"
    ((last, told_of),) = given.items()
    dispute(db, last, 100, "WON", **told_of)
    assert status(db) == "OPEN"
    assert len(audited(db)) == 2
    assert in_order(db)


def test_a_lost_dispute_keeps_it_frozen_when_another_is_won(db: Ledger) -> None:
    pay(db)
    for dispute_id in ("dp_1", "dp_2"):
        dispute(db, dispute_id, 100, "OPEN", policy="FREEZE")
    dispute(db, "dp_1", 100, "LOST", policy="FREEZE")
    dispute(db, "dp_2", 100, "WON", policy="FREEZE")
    assert status(db) == "FROZEN"


def test_disputes_that_freeze_nothing_keep_nothing_frozen(db: Ledger) -> None:
    pay(db)
    dispute(db, "dp_1", 100, "LOST", policy="DEDUCT")
    dispute(db, "dp_2", 100, "OPEN", policy="FREEZE")
    dispute(db, "dp_3", 100, "OPEN", policy="FLAG")
    dispute(db, "dp_2", 100, "WON", policy="FREEZE")
    assert status(db) == "OPEN"


def test_what_somebody_froze_stays_frozen(db: Ledger) -> None:
    pay(db)
    set_status(db, "FROZEN")
    dispute(db, "dp_1", 100, "OPEN", policy="FREEZE")
    dispute(db, "dp_1", 100, "WON", policy="FREEZE")
    assert status(db) == "FROZEN"
    assert audited(db) == []


def test_what_somebody_froze_since_stays_frozen(db: Ledger) -> None:
    pay(db)
    dispute(db, "dp_1", 100, "OPEN", policy="FREEZE")
    # To say so of an account that is frozen already is to keep it frozen.
    set_status(db, "FROZEN")
    dispute(db, "dp_2", 100, "OPEN", policy="FREEZE")
    for dispute_id in ("dp_1", "dp_2"):
        dispute(db, dispute_id, 100, "WON", policy="FREEZE")
    assert status(db) == "FROZEN"


def test_a_dispute_that_was_forgiven_keeps_nothing_frozen(db: Ledger) -> None:
    pay(db)
    dispute(db, "dp_1", 100, "OPEN", policy="FREEZE")
    dispute(db, "dp_1", 100, "LOST", policy="FREEZE")
    set_status(db, "OPEN")
    dispute(db, "dp_2", 100, "OPEN", policy="FREEZE")
    assert status(db) == "FROZEN"
    dispute(db, "dp_2", 100, "WON", policy="FREEZE")
    assert status(db) == "OPEN"


def test_another_account_is_another_matter(db: Ledger) -> None:
    pay(db)
    pay(db, "pi_2", account_id="b")
    dispute(db, "dp_1", 100, "OPEN", policy="FREEZE")
    dispute(db, "dp_2", 100, "OPEN", payment_id="pi_2", policy="FREEZE")
    ask(db, "set_account_status", account_id="b", status="FROZEN")
    dispute(db, "dp_1", 100, "WON", policy="FREEZE")
    assert (status(db), status(db, "b")) == ("OPEN", "FROZEN")


def test_a_closed_account_stays_closed(db: Ledger) -> None:
    pay(db)
    ask(db, "spend", account_id="a", amount=100)
    set_status(db, "CLOSED")
    row = dispute(db, "dp_1", 400, "LOST", policy="FREEZE")
    assert (row["reason"], row["taken"]) == ("account not open", 0)
    assert status(db) == "CLOSED"
    dispute(db, "dp_1", 400, "WON", policy="FREEZE")
    assert (told(db)["reason"], status(db)) == (None, "CLOSED")
    assert in_order(db)


def test_only_a_frozen_account_is_opened_whatever_closed_it(db: Ledger) -> None:
    pay(db)
    dispute(db, "dp_1", 400, "OPEN", policy="FREEZE")
    # As in settings that were restored without their audit log.
    db.execute("update pgledger.accounts set status = 'CLOSED'")
    dispute(db, "dp_1", 400, "WON", policy="FREEZE")
    assert status(db) == "CLOSED"


def test_a_dispute_freezes_once_or_never(db: Ledger) -> None:
    pay(db)
    set_status(db, "FROZEN")
    dispute(db, "dp_1", 100, "OPEN", policy="FREEZE")
    set_status(db, "OPEN")
    refund(db, "re_1", 100, "SUCCEEDED")
    assert status(db) == "OPEN"


def test_what_fell_due_is_posted_before_it_freezes(db: Ledger) -> None:
    pay(db, expires_at=day(1))
    let_pass(db, "2 days")
    dispute(db, "dp_1", 100, "OPEN", policy="FREEZE")
    assert journal(db) == [("TOP_UP", 100), ("EXPIRY", -100)]
    assert in_order(db)


def test_an_account_that_only_history_knows_is_frozen(db: Ledger) -> None:
    pay(db)
    dispute(db, "dp_1", 100, "OPEN", policy="FLAG", occurred_at=EARLY)
    for table in ("balances", "accounts", "events"):
        db.execute(f"delete from pgledger.{table}".encode())
    dispute(db, "dp_1", 100, "OPEN", policy="FREEZE", occurred_at=LATE)
    assert status(db) == "FROZEN"
    assert in_order(db)


def test_freezing_is_as_recent_as_time_passes(db: Ledger) -> None:
    pay(db)
    set_status(db, "OPEN")
    let_pass(db, "1 day")
    dispute(db, "dp_1", 400, "OPEN", policy="FREEZE")
    let_pass(db, "1 day")
    dispute(db, "dp_1", 400, "WON", policy="FREEZE")
    assert status(db) == "OPEN"
    assert in_order(db)


def test_a_transaction_that_is_rolled_back_leaves_no_trace(db: Ledger) -> None:
    pay(db)
    before = everything(db)
    with db.transaction(force_rollback=True):
        dispute(db, "dp_1", 1000, "LOST", policy="FREEZE")
        assert posted(db, "a") == [100, -100]
    assert everything(db) == before
    assert returns(db) == []


def test_a_dispute_is_of_a_payment_and_not_of_its_own_id(db: Ledger) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        dispute(db, "pi_1", 1000, "LOST")
    assert ask_all(db, "list_payment_returns") == []
