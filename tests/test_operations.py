"""Each operation of the wrapper runs and returns its record, on both facades."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import pgledger
from pgledger import Ledger, TopUpLimitError, TopUpLimits
from tests.conftest import Connect
from tests.test_client import async_ledger


@pytest.fixture
def ledger(connect: Connect) -> Ledger:
    return Ledger(connect())


def test_each_operation_runs_and_returns_its_record(ledger: Ledger) -> None:
    opened = ledger.open_account("u", min_balance=-10, metadata={"team": "a"})
    assert (opened.currency, opened.min_balance, opened.metadata) == ("CREDIT", -10, {"team": "a"})

    topped_up = ledger.top_up("u", 100, key="t", reference="r", external_id="pi", metadata={"n": 1})
    assert (topped_up.seq, topped_up.status, topped_up.balance) == (1, "POSTED", 100)
    assert topped_up.created_at is not None

    assert ledger.top_up("u", 40, key="p", is_active=False).status == "PENDING"
    assert ledger.enable_transaction("u", "p", amount=50, metadata={"m": 2}).balance == 150
    assert ledger.top_up("u", 40, key="c", is_active=False).status == "PENDING"
    assert ledger.cancel_transaction("u", "c", reason="no").status == "CANCELLED"
    assert ledger.grant_credits("u", 5, key="g").balance == 155
    assert ledger.top_up("u", 9, ceiling_balance=157).amount == 2
    assert ledger.add_transaction("u", -7, "ADJUSTMENT").balance == 150
    assert ledger.spend("u", 20, reference="chat").balance == 130
    assert ledger.spend("u", 500, shortfall="PARTIAL").requested_amount == -500
    assert ledger.add_transaction("u", -90, "REFUND", fail_insufficient_credits=False).balance < -10

    assert ledger.get_credits("u") == -100
    assert ledger.check_credits("u", 1) is False
    assert ledger.get_balance("u").available == -100
    assert [row.seq for row in ledger.history("u", limit_count=2, before_seq=4)] == [3, 2]
    assert [row.key for row in ledger.history("u", type="GRANT")] == ["g"]
    found = ledger.get_transaction("u", "t")
    assert found is not None
    assert (found.external_id, found.metadata) == ("pi", {"n": 1})
    assert ledger.get_transaction("u", "nothing") is None
    assert ledger.balance_at("u", datetime.now(UTC)) == -100
    assert ledger.usage_by_reference("u", limit_count=5)[1].reference == "chat"
    assert ledger.set_limits("u", min_balance=-200, debt_floor=-300).debt_floor == -300
    assert ledger.set_account_status("u", "FROZEN").status == "FROZEN"
    assert ledger.verify() == []
    assert ledger.verify("u") == []


def test_a_hold_is_captured_or_released(ledger: Ledger) -> None:
    ledger.top_up("u", 100)
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    held = ledger.hold("u", 60, key="h", expires_at=expires_at, reference="chat", metadata={"n": 1})
    assert (held.status, held.seq, held.amount, held.available) == ("PENDING", None, -60, 40)
    assert ledger.get_balance("u").held == 60
    assert ledger.hold("u", 60, key="h", expires_at=expires_at).replayed
    found = ledger.get_transaction("u", "h")
    assert found is not None
    assert (found.status, found.expires_at) == ("PENDING", expires_at)

    captured = ledger.capture("u", "h", amount=25, metadata={"m": 2})
    assert (captured.status, captured.amount, captured.available) == ("POSTED", -25, 75)
    assert ledger.capture("u", "h").replayed
    found = ledger.get_transaction("u", "h")
    assert found is not None
    assert (found.reference, found.metadata) == ("chat", {"n": 1, "m": 2})

    assert ledger.hold("u", 10, key="r").available == 65
    assert ledger.release("u", "r", reason="no").status == "CANCELLED"
    assert ledger.get_credits("u") == 75
    assert ledger.verify() == []


def test_an_instant_without_a_time_zone_is_refused(ledger: Ledger) -> None:
    ledger.top_up("u", 100)
    with pytest.raises(ValueError, match="expires_at must have a time zone"):
        ledger.hold("u", 60, expires_at=datetime(2030, 1, 1))  # noqa: DTZ001
    assert ledger.get_credits("u") == 100


def test_what_was_posted_is_taken_back(ledger: Ledger) -> None:
    ledger.top_up("u", 100, key="t")
    ledger.spend("u", 40, key="s")

    refunded = ledger.refund("u", "t", 30, key="r", external_id="re", reference="x", metadata={})
    assert (refunded.type, refunded.amount, refunded.available) == ("REFUND", -30, 30)
    assert ledger.refund("u", "t", 30, external_id="re").replayed
    with pytest.raises(pgledger.InsufficientCreditsError):
        ledger.refund("u", "t")
    assert ledger.refund("u", "t", fail_insufficient_credits=False).available == -40

    assert ledger.reverse_transaction("u", "s", 10, key="v", reference="x").amount == 10
    assert ledger.reverse_transaction("u", "#2", metadata={"why": "all"}).amount == 30
    assert [row.original_seq for row in ledger.history("u", type="REVERSAL")] == [2, 2]
    assert ledger.get_credits("u") == 0
    assert ledger.verify() == []


def test_a_transfer_answers_with_the_senders_leg(ledger: Ledger) -> None:
    ledger.top_up("u", 100)
    ledger.open_account("v")
    moved = ledger.transfer("u", "v", 30, key="m", reference="x", metadata={"n": 1})
    assert (moved.account_id, moved.amount, moved.available) == ("u", -30, 70)
    (received,) = ledger.history("v")
    assert (received.key, received.amount, received.counterparty) == ("m", 30, "u")
    assert ledger.transfer("u", "v", 30, key="m").replayed
    assert ledger.verify() == []


def test_an_auto_top_up_is_set_asked_for_and_settled(ledger: Ledger) -> None:
    ledger.top_up("u", 100)
    assert ledger.get_auto_top_up("u") is None
    assert ledger.check_auto_top_up("u") is None
    settings = ledger.set_auto_top_up(
        "u",
        50,
        200,
        mode="INTENT",
        enabled=True,
        daily_count_limit=3,
        daily_amount_limit=900,
        monthly_count_limit=9,
        monthly_amount_limit=5000,
    )
    assert (settings.threshold, settings.amount, settings.waiting_for) == (50, 200, None)
    assert (settings.monthly_amount_limit, settings.daily_amount_limit) == (5000, 900)

    ledger.spend("u", 60, reference="chat")
    waiting = ledger.get_auto_top_up("u")
    assert waiting is not None
    assert (waiting.intents, waiting.waiting_for) == (1, "#auto-1")
    intent = ledger.check_auto_top_up("u", reference="other")
    assert intent is not None
    assert (intent.key, intent.status, intent.replayed) == ("#auto-1", "PENDING", True)
    assert ledger.enable_transaction("u", "#auto-1").available == 240
    assert ledger.verify() == []


def test_a_top_up_is_announced_within_limits(ledger: Ledger) -> None:
    assert ledger.get_top_up_limits() is None
    limits = ledger.set_top_up_limits(
        minimum=10, multiple_of=5, maximum=500, daily_count_limit=1, daily_amount_limit=900
    )
    assert limits == ledger.get_top_up_limits("u")
    assert limits == TopUpLimits("", 10, 5, 500, 1, 900)
    given: dict[str, Any] = {"price": 999, "price_currency": "usd", "reference": "order"}
    given |= {"metadata": {"m": 1}, "expires_at": datetime(2200, 1, 1, tzinfo=UTC), "priority": 3}
    charge = ledger.create_top_up("u", 100, key="k", **given)
    assert (charge.status, charge.price, charge.price_currency) == ("PENDING", 999, "usd")
    assert (charge.key, charge.reference, charge.due_at) == ("k", "order", None)
    assert ledger.create_top_up("u", 100, key="k", **given).replayed
    with pytest.raises(TopUpLimitError, match="daily_count_limit") as caught:
        ledger.create_top_up("u", 10)
    assert caught.value.details["used"] == 1
    assert ledger.set_top_up_limits("u", maximum=50, actor="ada") == TopUpLimits(
        "u", None, None, 50, None, None
    )
    ledger.enable_transaction("u", "k", external_id="pi_1")
    assert ledger.create_top_up("u", 100, key="k", **given).status == "POSTED"
    assert ledger.set_top_up_limits() is None
    assert ledger.verify() == []


def test_an_auto_top_up_is_claimed_put_off_and_declined(ledger: Ledger) -> None:
    ledger.top_up("u", 100)
    ledger.set_auto_top_up("u", 50, 200)
    ledger.spend("u", 60)
    (charge,) = ledger.claim_top_ups(limit_count=5, lease=timedelta(seconds=30))
    assert (charge.key, charge.attempt, charge.claims, charge.price) == ("#auto-1", 0, 1, None)
    assert ledger.claim_top_ups() == []
    later = ledger.defer_top_up("u", "#auto-1", 0, pause=timedelta(hours=1), reason="processing")
    assert later.due_at is not None
    assert charge.due_at is not None
    assert later.due_at > charge.due_at
    assert later.idempotency_key == charge.idempotency_key
    given: dict[str, Any] = {"provider": "stripe", "payment_id": "pi_1"}
    declined = ledger.decline_top_up("u", "#auto-1", 0, "card_declined", **given)
    assert (declined.attempt, declined.replayed) == (1, False)
    assert declined.idempotency_key != charge.idempotency_key
    assert ledger.decline_top_up("u", "#auto-1", 0).replayed
    assert ledger.decline_top_up("u", "#auto-1", 1, give_up=True).status == "CANCELLED"
    settings = ledger.get_auto_top_up("u")
    assert settings is not None
    assert not settings.enabled
    assert ledger.verify() == []


def test_events_are_listed_claimed_and_acknowledged(ledger: Ledger) -> None:
    ledger.top_up("u", 100)
    assert ledger.set_low_balance_level("u", 50).low_balance_level == 50
    ledger.spend("u", 60, key="s", reference="chat")
    ledger.set_account_status("u", "FROZEN")

    assert [event.kind for event in ledger.list_events("u")] == ["account_frozen", "low_balance"]
    assert len(ledger.list_events(limit_count=1)) == 1
    (event,) = ledger.claim_events(limit_count=1, visibility_timeout=timedelta(minutes=5))
    assert (event.account_id, event.seq, event.kind, event.deliveries) == (
        *("u", 1, "low_balance", 1),
    )
    assert event.payload == {"available": 40, "level": 50, "key": "s", "reference": "chat"}
    assert ledger.claim_events() == []
    assert ledger.ack_events([event.account_id], [event.seq]) == 1
    assert ledger.ack_events(["u", "u"], [1, 99]) == 0
    assert [event.kind for event in ledger.claim_events()] == ["account_frozen"]
    assert ledger.list_events("u")[1].acked_at is not None
    assert ledger.set_low_balance_level("u").low_balance_level is None


def test_who_did_what_is_told(ledger: Ledger) -> None:
    ledger.top_up("u", 100, key="paid")
    ledger.spend("u", 10, key="s")
    ledger.grant_credits("u", 5, key="lot", priority=1)
    acts = {
        "set_account_status": ledger.set_account_status("u", "OPEN", actor="ada"),
        "set_limits": ledger.set_limits("u", min_balance=-1, actor="ada"),
        "set_low_balance_level": ledger.set_low_balance_level("u", 3, actor="ada"),
        "set_auto_top_up": ledger.set_auto_top_up("u", 1, 1, actor="ada"),
        "create_plan": ledger.create_plan("p", 1, "1 day", "ADD", actor="ada"),
        "assign_plan": ledger.assign_plan("u", "p", actor="ada"),
        "clear_plan": ledger.clear_plan("u", actor="ada"),
        "set_spending_cap": ledger.set_spending_cap("u", 100, actor="ada"),
        "set_price": ledger.set_price("m", {"in": 1}, actor="ada"),
        "refund": ledger.refund("u", "paid", 10, actor="ada"),
        "reverse_transaction": ledger.reverse_transaction("u", "s", actor="ada"),
        "revoke_lot": ledger.revoke_lot("u", "lot", actor="ada"),
    }
    told = ledger.list_audit(actor="ada")
    assert [entry.act for entry in told] == list(acts)[::-1]
    (older,) = ledger.list_audit(
        "u", act="set_limits", before_at=told[0].created_at, before_id=told[0].id, limit_count=1
    )
    assert (older.account_id, older.arguments) == ("u", {"min_balance": -1})


def test_a_refund_is_asked_for_decided_and_settled(ledger: Ledger) -> None:
    for key in ("t1", "t2", "t3"):
        ledger.top_up("u", 100, key=key, external_id=f"pi_{key}")
    row = ledger.request_refund("u", "t1", 40, key="r1", reason="unused", actor="payer")
    assert (row.status, row.amount, row.requested_by) == ("PENDING", 40, "payer")
    assert ledger.list_refund_requests("PENDING") == [row]
    with pytest.raises(pgledger.IdempotencyConflictError) as caught:
        ledger.request_refund("u", "t1")
    assert caught.value.details["open"] == "r1"
    approved = ledger.approve_refund("u", "r1", reason="fair", actor="ada")
    assert (approved.status, approved.seq, approved.decided_by) == ("APPROVED", 4, "ada")
    assert ledger.get_credits("u") == 260
    assert ledger.claim_refunds(limit_count=5, lease=timedelta(minutes=1), provider="stripe") == []
    assert ledger.settle_refund_request("u", "r1", return_id="by hand").return_id == "by hand"

    ledger.request_refund("u", "t2", key="r2")
    assert ledger.reject_refund("u", "r2", reason="no").status == "REJECTED"
    with pytest.raises(pgledger.TransactionNotPendingError):
        ledger.approve_refund("u", "r2")
    assert ledger.request_refund("u", "t3", key="r3", tolerance=0).decision == "policy"
    assert ledger.settle_refund_request("u", "r3", result="no such card").result == "no such card"
    assert ledger.get_credits("u") == 260
    newest = ledger.list_refund_requests(account_id="u", limit_count=1)[0]
    assert newest.key == "r3"
    older = ledger.list_refund_requests(
        before_at=newest.created_at,
        before_account_id=newest.account_id,
        before_key=newest.key,
    )
    assert [row.key for row in older] == ["r2", "r1"]
    assert ledger.verify() == []


def test_what_is_due_is_closed(ledger: Ledger) -> None:
    ledger.top_up("u", 100)
    ledger.hold("u", 60, key="h", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert ledger.run_due() == 0
    expire_holds(ledger)
    assert ledger.get_credits("u") == 100
    assert ledger.run_due(limit_count=10) == 1
    assert [event.kind for event in ledger.list_events()] == ["hold_expired"]
    with pytest.raises(pgledger.TransactionNotPendingError):
        ledger.capture("u", "h")
    assert ledger.verify() == []


def expire_holds(ledger: Ledger) -> None:
    """Move all holds, not the clock, so that they are due."""
    ledger.connection.execute(
        "update pgledger.pending_transactions set created_at = now() - interval '2 hours',"
        " expires_at = now() - interval '1 hour'"
    )
    ledger.connection.execute(
        "update pgledger.balances set attention_at = now() - interval '1 hour'"
    )


def test_each_new_operation_is_awaited_on_an_async_ledger(database_url: str) -> None:
    async def story() -> None:
        async with async_ledger(database_url) as ledger:
            await ledger.top_up("u", 100, key="t")
            await ledger.open_account("v")
            await ledger.set_low_balance_level("u", 50)
            await ledger.set_auto_top_up("u", 50, 200)
            assert (await ledger.hold("u", 60, key="h")).status == "PENDING"
            assert (await ledger.capture("u", "h", amount=20)).amount == -20
            await ledger.hold("u", 10, key="r")
            assert (await ledger.release("u", "r")).status == "CANCELLED"
            assert (await ledger.reverse_transaction("u", "h", 5)).amount == 5
            assert (await ledger.refund("u", "t", 5)).amount == -5
            assert (await ledger.transfer("u", "v", 5, key="m")).available == 75
            settings = await ledger.get_auto_top_up("u")
            assert settings is not None
            assert settings.waiting_for == "#auto-1"
            assert (await ledger.check_auto_top_up("u")) is not None
            assert await ledger.run_due() == 0
            (event,) = await ledger.claim_events(limit_count=1)
            assert len(await ledger.list_events("u")) == 2
            assert await ledger.ack_events([event.account_id], [event.seq]) == 1
            assert await ledger.verify() == []

    asyncio.run(story())
