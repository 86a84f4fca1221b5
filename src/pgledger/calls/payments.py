"""The calls that tell the ledger what a payment provider said, and that read what it made of it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from pgledger.calls._call import Call, bigint, first, instant, many, mapping, one
from pgledger.records import (
    CardCheck,
    DisputePolicy,
    DisputeStatus,
    Payment,
    PaymentEvent,
    PaymentEventStatus,
    PaymentReturn,
    PaymentStatus,
    RefundStatus,
    StoredPaymentEvent,
)


def record_payment_event(
    provider: str,
    event_id: str,
    type: str,  # noqa: A002 - the parameter's name in SQL
    payload: str,
    *,
    occurred_at: datetime | None = None,
) -> Call[PaymentEvent]:
    """Record an event as it came, once; ``is_new`` says whether this is the first to tell of it.

    The event is locked until the transaction ends: who tells of it at once waits, and then sees
    what became of it. Call process_payment_event in the same transaction.
    """
    return one(
        PaymentEvent,
        "record_payment_event",
        {"provider": provider, "event_id": event_id, "type": type, "payload": payload},
        occurred_at=instant("occurred_at", occurred_at),
    )


def process_payment_event(
    provider: str, event_id: str, facts: Iterable[Mapping[str, Any]]
) -> Call[PaymentEvent]:
    """Apply the facts of a recorded event, all or none: PROCESSED, or FAILED with its error.

    A fact names its ``record`` (payment, refund, dispute, card_check, cancellation) and the
    parameters of the function that records it. No facts: IGNORED. An event that was PROCESSED or
    IGNORED is answered as it is; one that FAILED may be processed again. Raises
    TransactionNotFoundError for an event that nobody recorded.
    """
    return one(
        PaymentEvent,
        "process_payment_event",
        {
            "provider": provider,
            "event_id": event_id,
            "facts": Jsonb([_fact(fact) for fact in facts]),
        },
    )


def _fact(fact: Mapping[str, Any]) -> dict[str, Any]:
    """Send an instant as text: JSON has none."""
    return {
        name: instant(name, value).isoformat()  # type: ignore[union-attr] # it is one
        if isinstance(value, datetime)
        else value
        for name, value in mapping("facts", fact).items()
        if value is not None
    }


def record_payment(
    provider: str,
    payment_id: str,
    status: PaymentStatus,
    *,
    account_id: str | None = None,
    key: str | None = None,
    amount: int | None = None,
    paid: int | None = None,
    currency: str | None = None,
    refunded: int | None = None,
    customer: str | None = None,
    reason: str | None = None,
    occurred_at: datetime | None = None,
    attempt: int | None = None,
) -> Call[Payment]:
    """Tell what is known of a payment; one that SUCCEEDED is credited, once, whoever tells of it.

    ``amount`` is credits, ``paid`` and ``refunded`` (the sum) money in the smallest unit of
    ``currency``. An announced ``key`` is enabled with the amount announced; what cannot be credited
    is unmatched, and tried again with whatever is told next. ``attempt`` is that of an auto-top-up
    that FAILED. Raises IdempotencyConflictError where a payment that was credited is said to be of
    another account or key.
    """
    return one(
        Payment,
        "record_payment",
        {"provider": provider, "payment_id": payment_id, "status": status},
        account_id=account_id,
        key=key,
        amount=bigint("amount", amount),
        paid=bigint("paid", paid),
        currency=currency,
        refunded=bigint("refunded", refunded),
        customer=customer,
        reason=reason,
        occurred_at=instant("occurred_at", occurred_at),
        attempt=bigint("attempt", attempt),
    )


def match_payment(
    provider: str,
    payment_id: str,
    account_id: str,
    *,
    amount: int | None = None,
    key: str | None = None,
    actor: str | None = None,
) -> Call[Payment]:
    """Say whose an unmatched payment is, and how many credits it bought: it is credited so.

    A repeat changes nothing. Raises TransactionNotFoundError for an unknown payment,
    TransactionNotPendingError for one that did not succeed, IdempotencyConflictError for one that
    was credited otherwise, AccountNotOpenError.
    """
    return one(
        Payment,
        "match_payment",
        {"provider": provider, "payment_id": payment_id, "account_id": account_id},
        amount=bigint("amount", amount),
        key=key,
        actor=actor,
    )


def record_payment_refund(
    provider: str,
    refund_id: str,
    payment_id: str,
    amount: int,
    status: RefundStatus,
    *,
    request_key: str | None = None,
    account_id: str | None = None,
    occurred_at: datetime | None = None,
) -> Call[Payment]:
    """Tell of a refund at the provider: it takes its credits back, once; FAILED gives them back.

    ``amount`` is money, in the smallest unit of the payment's currency; ``request_key`` the refund
    request that it carries out, whose credits are taken already. Order and number of calls do not
    matter. Raises IdempotencyConflictError where the id is another payment's.
    """
    return one(
        Payment,
        "record_payment_refund",
        {
            "provider": provider,
            "refund_id": refund_id,
            "payment_id": payment_id,
            "amount": bigint("amount", amount),
            "status": status,
        },
        request_key=request_key,
        account_id=account_id,
        occurred_at=instant("occurred_at", occurred_at),
    )


def record_dispute(
    provider: str,
    dispute_id: str,
    payment_id: str,
    amount: int,
    status: DisputeStatus,
    *,
    policy: DisputePolicy | None = None,
    reason: str | None = None,
    occurred_at: datetime | None = None,
) -> Call[Payment]:
    """Tell of a dispute: LOST takes its credits back, WON gives back what it took.

    While it is OPEN ``policy`` says whether the account is frozen (FREEZE, the default), the
    credits are taken at once (DEDUCT), or nothing happens (FLAG); an event tells in any case.
    ``amount`` is money, in the smallest unit of the payment's currency.
    """
    return one(
        Payment,
        "record_dispute",
        {
            "provider": provider,
            "dispute_id": dispute_id,
            "payment_id": payment_id,
            "amount": bigint("amount", amount),
            "status": status,
        },
        policy=policy,
        reason=reason,
        occurred_at=instant("occurred_at", occurred_at),
    )


def record_card_check(
    provider: str,
    check_id: str,
    account_id: str,
    *,
    key: str | None = None,
    amount: int | None = None,
    customer: str | None = None,
    payment_method: str | None = None,
) -> Call[CardCheck]:
    """Tell of a card put on file: gives what was announced under ``key``, or ``amount``, once.

    Links ``customer`` and ``payment_method`` to the account. Raises IdempotencyConflictError where
    one of them is another account's.
    """
    return one(
        CardCheck,
        "record_card_check",
        {"provider": provider, "check_id": check_id, "account_id": account_id},
        key=key,
        amount=bigint("amount", amount),
        customer=customer,
        payment_method=payment_method,
    )


def get_payment_event(provider: str, event_id: str) -> Call[StoredPaymentEvent | None]:
    """Return an event with its payload; None when nobody recorded it."""
    return first(
        many(StoredPaymentEvent, "get_payment_event", {"provider": provider, "event_id": event_id})
    )


def list_payment_events(
    *,
    status: PaymentEventStatus | None = None,
    provider: str | None = None,
    limit_count: int | None = None,
    before: datetime | None = None,
) -> Call[list[PaymentEvent]]:
    """Return events without their payload, newest first, 100 or ``limit_count`` of them.

    The next page begins ``before``: the received_at of the last one seen.
    """
    return many(
        PaymentEvent,
        "list_payment_events",
        {},
        status=status,
        provider=provider,
        limit_count=bigint("limit_count", limit_count),
        before=instant("before", before),
    )


def list_payments(
    *,
    provider: str | None = None,
    account_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    unmatched: bool | None = None,
    limit_count: int | None = None,
) -> Call[list[Payment]]:
    """Return payments first told of from ``since`` on and before ``until``, newest first.

    ``unmatched``: only those that succeeded and are not credited. The next page ends at
    ``until``: the created_at of the last one seen.
    """
    return many(
        Payment,
        "list_payments",
        {},
        provider=provider,
        account_id=account_id,
        since=instant("since", since),
        until=instant("until", until),
        unmatched=unmatched,
        limit_count=bigint("limit_count", limit_count),
    )


def list_payment_returns(
    *,
    provider: str | None = None,
    payment_id: str | None = None,
    account_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit_count: int | None = None,
) -> Call[list[PaymentReturn]]:
    """Return refunds and disputes first told of from ``since`` on and before ``until``.

    Newest first. The next page ends at ``until``: the created_at of the last one seen.
    """
    return many(
        PaymentReturn,
        "list_payment_returns",
        {},
        provider=provider,
        payment_id=payment_id,
        account_id=account_id,
        since=instant("since", since),
        until=instant("until", until),
        limit_count=bigint("limit_count", limit_count),
    )
