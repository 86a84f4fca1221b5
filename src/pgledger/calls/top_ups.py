"""The calls of top-ups that are yet to be paid: by a payer at a checkout, or by a worker."""

from datetime import datetime, timedelta

from pgledger.calls._call import Call, Metadata, bigint, first, instant, integer, jsonb, many, one
from pgledger.records import Charge, TopUpLimits


def create_top_up(
    account_id: str,
    amount: int,
    *,
    key: str | None = None,
    price: int | None = None,
    price_currency: str | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    expires_at: datetime | None = None,
    priority: int | None = None,
) -> Call[Charge]:
    """Announce a top-up that somebody is about to pay, within the limits of the account.

    ``price`` is money in the smallest unit of ``price_currency``. Commit, then ask the provider for
    a checkout under the answer's ``idempotency_key``. A repeat of the key changes nothing and
    returns the first, at whatever ``status`` it is; at another price it raises
    IdempotencyConflictError. Raises TopUpLimitError, AccountNotOpenError.
    """
    return one(
        Charge,
        "create_top_up",
        {"account_id": account_id, "amount": bigint("amount", amount)},
        key=key,
        price=bigint("price", price),
        price_currency=price_currency,
        reference=reference,
        metadata=jsonb("metadata", metadata),
        expires_at=instant("expires_at", expires_at),
        priority=integer("priority", priority),
    )


def set_top_up_limits(
    account_id: str | None = None,
    *,
    minimum: int | None = None,
    multiple_of: int | None = None,
    maximum: int | None = None,
    daily_count_limit: int | None = None,
    daily_amount_limit: int | None = None,
    actor: str | None = None,
) -> Call[TopUpLimits | None]:
    """Set, whole, what an account's top-ups keep to; or, without one, those of all others.

    With no limit given the account goes by those of all again. Returns what applies now, None where
    nothing does. Raises AccountNotFoundError.
    """
    return first(
        many(
            TopUpLimits,
            "set_top_up_limits",
            {},
            account_id=account_id,
            minimum=bigint("minimum", minimum),
            multiple_of=bigint("multiple_of", multiple_of),
            maximum=bigint("maximum", maximum),
            daily_count_limit=bigint("daily_count_limit", daily_count_limit),
            daily_amount_limit=bigint("daily_amount_limit", daily_amount_limit),
            actor=actor,
        )
    )


def get_top_up_limits(account_id: str | None = None) -> Call[TopUpLimits | None]:
    """Return what an account's top-ups keep to: its own limits, or those of all; else None."""
    return first(many(TopUpLimits, "get_top_up_limits", {}, account_id=account_id))


def claim_top_ups(
    *, limit_count: int | None = None, lease: timedelta | None = None
) -> Call[list[Charge]]:
    """Return auto-top-ups to be charged, which nobody else is handed before ``lease`` is over.

    Ten of them and five minutes where not told. Commit, then charge each under its
    ``idempotency_key`` and tell what came of it: record_payment, decline_top_up or defer_top_up.
    Where ``claims`` is above 1, ask the provider first whether it was charged.
    """
    return many(
        Charge,
        "claim_top_ups",
        {},
        limit_count=bigint("limit_count", limit_count),
        lease=lease,
    )


def decline_top_up(
    account_id: str,
    key: str,
    attempt: int,
    reason: str | None = None,
    *,
    provider: str | None = None,
    payment_id: str | None = None,
    give_up: bool | None = None,
) -> Call[Charge]:
    """Say that the provider declined an auto-top-up, at the ``attempt`` of its claim.

    It is due again in 1, 6 and 24 hours; the fourth time, or with ``give_up``, it is cancelled and
    the auto-top-up switched off. An attempt counts once. Raises TransactionNotFoundError.
    """
    return one(
        Charge,
        "decline_top_up",
        {
            "account_id": account_id,
            "key": key,
            "attempt": bigint("attempt", attempt),
            "reason": reason,
        },
        provider=provider,
        payment_id=payment_id,
        give_up=give_up,
    )


def defer_top_up(
    account_id: str,
    key: str,
    attempt: int,
    *,
    pause: timedelta | None = None,
    reason: str | None = None,
) -> Call[Charge]:
    """Say that what came of charging is not known yet: claimed again after ``pause`` (5 minutes).

    As the same ``attempt``, so under the same idempotency key. Raises TransactionNotFoundError.
    """
    return one(
        Charge,
        "defer_top_up",
        {"account_id": account_id, "key": key, "attempt": bigint("attempt", attempt)},
        pause=pause,
        reason=reason,
    )


def list_pending_top_ups(
    account_id: str | None = None,
    *,
    before: datetime | None = None,
    limit_count: int | None = None,
) -> Call[list[Charge]]:
    """Return top-ups that were announced and are neither paid nor given up, the oldest first.

    100 or ``limit_count`` of them; only those announced ``before`` an instant where one is given.
    """
    return many(
        Charge,
        "list_pending_top_ups",
        {},
        account_id=account_id,
        before=instant("before", before),
        limit_count=bigint("limit_count", limit_count),
    )
