"""The public API as a user's type checker sees it; checked by mypy, never run."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, assert_type
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pgledger import (
    Account,
    AccountPlan,
    AsyncBatcher,
    AsyncLedger,
    AuditEntry,
    AutoTopUp,
    Balance,
    BalanceItem,
    Batcher,
    BatchItem,
    CardCheck,
    Charge,
    ClaimedEvent,
    ClaimedRefund,
    Disagreement,
    Draw,
    Event,
    ExpiringLot,
    Identifier,
    Ledger,
    Lot,
    Payment,
    PaymentEvent,
    PaymentReturn,
    Plan,
    PlanAssignment,
    Posting,
    PriceList,
    ReferenceUsage,
    RefundRequest,
    ResolvedAccount,
    SpendingCap,
    SpendingCapUsage,
    StoredPaymentEvent,
    TopUpLimits,
    Transaction,
    UnitPrice,
    UsagePrice,
)


def sync_facade(connection: psycopg.Connection[Any], pool: ConnectionPool) -> None:
    ledger = Ledger(connection)
    Ledger(pool)
    assert_type(ledger.spend("u", 1, key="k", shortfall="PARTIAL"), Posting)
    assert_type(ledger.open_account("u"), Account)
    assert_type(ledger.set_price("m", {"in": Decimal("0.1"), "out": 2}), PriceList)
    assert_type(ledger.price("m", {"in": 1}), UsagePrice)
    assert_type(ledger.list_prices("m"), list[UnitPrice])
    assert_type(ledger.spend_usage("u", "m", {"in": 1}, shortfall="DEBT"), Posting)
    assert_type(ledger.hold_usage("u", "m", {"in": 1}), Posting)
    assert_type(ledger.capture_usage("u", "h", {"in": 1}), Posting)
    ledger.price("m", {"in": 0.5})  # type: ignore[dict-item] # no float
    assert_type(ledger.get_balance("u"), Balance)
    assert_type(ledger.get_credits("u"), int)
    assert_type(ledger.check_credits("u", 1), bool)
    assert_type(ledger.get_transaction("u", "k"), Transaction | None)
    assert_type(ledger.balance_at("u", datetime.now(UTC)), int)
    assert_type(ledger.history("u"), list[Transaction])
    assert_type(ledger.usage_by_reference("u"), list[ReferenceUsage])
    assert_type(ledger.verify(), list[Disagreement])
    assert_type(ledger.hold("u", 1, expires_at=datetime.now(UTC)), Posting)
    assert_type(ledger.capture("u", "k", amount=1), Posting)
    assert_type(ledger.release("u", "k"), Posting)
    assert_type(ledger.refund("u", "t", 1, fail_insufficient_credits=False), Posting)
    assert_type(ledger.reverse_transaction("u", "k"), Posting)
    assert_type(ledger.transfer("u", "v", 1, key="k"), Posting)
    assert_type(ledger.set_low_balance_level("u", 1), Account)
    assert_type(ledger.set_auto_top_up("u", 1, 1, mode="INSTANT"), AutoTopUp)
    assert_type(ledger.get_auto_top_up("u"), AutoTopUp | None)
    assert_type(ledger.check_auto_top_up("u"), Posting | None)
    assert_type(ledger.run_due(), int)
    assert_type(ledger.claim_events(visibility_timeout=timedelta(minutes=1)), list[ClaimedEvent])
    assert_type(ledger.ack_events(["u"], [1]), int)
    assert_type(ledger.list_events("u"), list[Event])
    assert_type(ledger.request_refund("u", "k", 1, tolerance=0), RefundRequest)
    assert_type(ledger.approve_refund("u", "r", actor="ada"), RefundRequest)
    assert_type(ledger.list_refund_requests("PENDING"), list[RefundRequest])
    assert_type(ledger.claim_refunds(lease=timedelta(minutes=1)), list[ClaimedRefund])
    assert_type(ledger.list_audit("u", actor="ada"), list[AuditEntry])
    assert_type(ledger.set_limits("u", min_balance=-1, actor="ada"), Account)
    with ledger.transaction() as tx:
        assert_type(tx, Ledger)
    assert_type(ledger.transact(lambda tx: tx.get_credits("u")), int)

    ledger.spend("u", "1")  # type: ignore[arg-type]
    ledger.spend("u", 1, "k")  # type: ignore[call-arg]
    ledger.spend("u", 1, shortfall="NO")  # type: ignore[arg-type]
    ledger.add_transaction("u", 1, "NO")  # type: ignore[arg-type]
    ledger.top_up("u")  # type: ignore[call-arg]
    ledger.hold("u", 1, expires_at="tomorrow")  # type: ignore[arg-type]
    ledger.set_auto_top_up("u", 1, 1, mode="NO")  # type: ignore[arg-type]
    ledger.transfer("u", 1)  # type: ignore[call-arg,arg-type]


def who_is_who(ledger: Ledger) -> None:
    assert_type(ledger.resolve_account(UUID(int=1), open=True), ResolvedAccount)
    assert_type(ledger.link_identifier("u", 7, kind="INTEGER", move=True), Identifier)
    assert_type(ledger.unlink_identifier("a@b.de", actor="me"), bool)
    assert_type(ledger.list_identifiers("u"), list[Identifier])

    ledger.resolve_account(1.5)  # type: ignore[arg-type]
    ledger.link_identifier("u", "x", kind="PHONE")  # type: ignore[arg-type]


def lots_plans_and_caps(ledger: Ledger) -> None:
    soon = datetime.now(UTC) + timedelta(days=14)
    assert_type(ledger.grant_credits("u", 1, key="g", expires_at=soon, priority=-1), Posting)
    assert_type(ledger.top_up("u", 1, expires_at=soon, priority=1), Posting)
    assert_type(ledger.add_transaction("u", 1, "GRANT", expires_at=soon, priority=0), Posting)
    assert_type(ledger.reverse_transaction("u", "k", extend=timedelta(days=7)), Posting)
    assert_type(ledger.revoke_lot("u", "g", reason="fraud"), Posting)
    assert_type(ledger.lots("u", include_closed=False), list[Lot])
    assert_type(ledger.expiring("u", within=timedelta(days=7)), list[ExpiringLot])
    assert_type(ledger.explain_transaction("u", "k"), list[Draw])
    assert_type(ledger.explain_balance("u"), list[BalanceItem])
    assert_type(ledger.get_balance("u").next_expiry_at, datetime | None)
    assert_type(ledger.create_plan("pro", 1, "1 month", "RESET", anchor="ACCOUNT"), Plan)
    assert_type(ledger.create_plan("week", 1, timedelta(days=7), "ADD").period, str)
    assert_type(ledger.list_plans(), list[Plan])
    assert_type(ledger.assign_plan("u", "pro", starts_at=soon, at_once=True), PlanAssignment)
    assert_type(ledger.clear_plan("u", expire_allowance=True), PlanAssignment | None)
    assert_type(ledger.get_plan("u"), AccountPlan | None)
    assert_type(ledger.set_spending_cap("u", None), SpendingCap | None)
    assert_type(ledger.get_spending_cap("u"), SpendingCapUsage | None)

    ledger.grant_credits("u", 1, expires_at="14d")  # type: ignore[arg-type]
    ledger.grant_credits("u", 1, priority="high")  # type: ignore[arg-type]
    ledger.reverse_transaction("u", "k", extend="7 days")  # type: ignore[arg-type]
    ledger.create_plan("pro", 1, "1 month", "NO")  # type: ignore[arg-type]
    ledger.create_plan("pro", 1, 30, "ADD")  # type: ignore[arg-type]
    ledger.set_spending_cap("u")  # type: ignore[call-arg]


def top_ups(ledger: Ledger) -> None:
    assert_type(ledger.record_payment_event("stripe", "evt_1", "t", "{}"), PaymentEvent)
    assert_type(ledger.process_payment_event("stripe", "evt_1", [{"record": "x"}]), PaymentEvent)
    assert_type(ledger.record_payment("stripe", "pi_1", "SUCCEEDED", paid=1), Payment)
    ledger.record_payment("stripe", "pi_1", "PAID")  # type: ignore[arg-type] # no such status
    assert_type(ledger.match_payment("stripe", "pi_1", "u", amount=1, actor="ann"), Payment)
    assert_type(ledger.record_payment_refund("stripe", "re", "pi", 1, "PENDING"), Payment)
    assert_type(ledger.record_dispute("stripe", "dp", "pi", 1, "OPEN", policy="FLAG"), Payment)
    assert_type(ledger.record_card_check("stripe", "seti_1", "u"), CardCheck)
    assert_type(ledger.get_payment_event("stripe", "evt_1"), StoredPaymentEvent | None)
    assert_type(ledger.list_payment_events(status="FAILED"), list[PaymentEvent])
    assert_type(ledger.list_payments(unmatched=True), list[Payment])
    assert_type(ledger.list_payment_returns(account_id="u"), list[PaymentReturn])
    assert_type(ledger.create_top_up("u", 1, key="k", price=1, price_currency="usd"), Charge)
    assert_type(ledger.set_top_up_limits("u", minimum=1), TopUpLimits | None)
    assert_type(ledger.get_top_up_limits(), TopUpLimits | None)
    assert_type(ledger.claim_top_ups(limit_count=1), list[Charge])
    assert_type(ledger.decline_top_up("u", "#auto-1", 0, "declined"), Charge)
    assert_type(ledger.defer_top_up("u", "#auto-1", 0), Charge)


async def async_facade(connection: psycopg.AsyncConnection[Any], pool: AsyncConnectionPool) -> None:
    ledger = AsyncLedger(connection)
    AsyncLedger(pool)
    assert_type(await ledger.spend("u", 1, key="k"), Posting)
    assert_type(await ledger.history("u"), list[Transaction])
    assert_type(await ledger.hold("u", 1), Posting)
    assert_type(await ledger.claim_events(), list[ClaimedEvent])
    assert_type(await ledger.get_auto_top_up("u"), AutoTopUp | None)
    assert_type(await ledger.lots("u"), list[Lot])
    assert_type(await ledger.get_plan("u"), AccountPlan | None)
    assert_type(await ledger.set_spending_cap("u", 1), SpendingCap | None)
    async with ledger.transaction() as tx:
        assert_type(tx, AsyncLedger)

    _ = ledger.spend("u", 1).balance  # type: ignore[attr-defined]


def batches(ledger: Ledger) -> None:
    item = BatchItem("u", -1, "USAGE", key="k", shortfall="FORCE")
    assert_type(ledger.post_batch([item], atomic=True), list[Posting])
    with ledger.batcher(max_items=10, max_delay=0, max_queued=5, connections=2) as batcher:
        assert_type(batcher, Batcher)
        assert_type(batcher.spend("u", 1, key="k", shortfall="PARTIAL"), Posting)
        assert_type(batcher.spend_usage("u", "code", {"token": 1}, key="k"), Posting)
        assert_type(batcher.post(item, raise_refusals=False), Posting)
        assert_type(batcher.queued, int)
        batcher.flush()

        batcher.spend("u", "1")  # type: ignore[arg-type]
        batcher.spend("u", 1, shortfall="FORCE")  # type: ignore[arg-type]
        batcher.spend_usage("u", "code", {"token": 0.5})  # type: ignore[dict-item]
        batcher.post("u", 1)  # type: ignore[arg-type, call-arg]
    BatchItem("u", 1, "NO")  # type: ignore[arg-type]
    ledger.post_batch(item)  # type: ignore[arg-type]


async def async_batches(ledger: AsyncLedger) -> None:
    assert_type(await ledger.post_batch([BatchItem("u", 1, "GRANT")]), list[Posting])
    async with ledger.batcher() as batcher:
        assert_type(batcher, AsyncBatcher)
        assert_type(await batcher.spend("u", 1), Posting)
        await batcher.flush()

        _ = batcher.spend("u", 1).balance  # type: ignore[attr-defined]
