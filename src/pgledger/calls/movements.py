"""The calls that move credits, or announce, reserve, give back and take back."""

from datetime import datetime, timedelta

from pgledger.calls._call import Call, Metadata, bigint, instant, integer, jsonb, posting
from pgledger.records import Posting, Shortfall, TransactionType


def add_transaction(
    account_id: str,
    amount: int,
    type: TransactionType,  # noqa: A002 - the parameter's name in SQL
    *,
    key: str | None = None,
    is_active: bool | None = None,
    ceiling_balance: int | None = None,
    fail_insufficient_credits: bool | None = None,
    reference: str | None = None,
    external_id: str | None = None,
    metadata: Metadata | None = None,
    expires_at: datetime | None = None,
    priority: int | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Post one movement of any type; positive credits, negative debits, in minor units.

    ``is_active=False`` announces a credit instead. ``ceiling_balance`` posts only what fits under
    it. ``fail_insufficient_credits=False`` debits whatever the balance. ``expires_at`` and
    ``priority`` are those of a credit, as in grant_credits; of an announced debit, a hold,
    ``expires_at`` is the hold's. A repeat of the key or the external_id changes nothing and returns
    the original with ``replayed`` set.
    """
    return posting(
        "add_transaction",
        {"account_id": account_id, "amount": bigint("amount", amount), "type": type},
        key=key,
        is_active=is_active,
        ceiling_balance=bigint("ceiling_balance", ceiling_balance),
        fail_insufficient_credits=fail_insufficient_credits,
        reference=reference,
        external_id=external_id,
        metadata=jsonb("metadata", metadata),
        expires_at=instant("expires_at", expires_at),
        priority=integer("priority", priority),
        raise_refusals=raise_refusals,
    )


def spend(
    account_id: str,
    amount: int,
    *,
    key: str | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    shortfall: Shortfall | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Take ``amount`` (positive, minor units) for usage.

    When available credits do not cover it, ``shortfall`` decides: REFUSE (the default) raises
    InsufficientCreditsError, PARTIAL spends what is there, DEBT goes down to the account's
    debt_floor. A repeat of the key changes nothing and returns the original.
    """
    return posting(
        "spend",
        {"account_id": account_id, "amount": bigint("amount", amount)},
        key=key,
        reference=reference,
        metadata=jsonb("metadata", metadata),
        shortfall=shortfall,
        raise_refusals=raise_refusals,
    )


def top_up(
    account_id: str,
    amount: int,
    *,
    key: str | None = None,
    is_active: bool | None = None,
    ceiling_balance: int | None = None,
    reference: str | None = None,
    external_id: str | None = None,
    metadata: Metadata | None = None,
    expires_at: datetime | None = None,
    priority: int | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Credit what was paid: ``amount`` positive, minor units.

    ``is_active=False`` announces a payment not made yet, for enable_transaction or
    cancel_transaction. The provider's ``external_id`` has one effect, ever, whatever the key.
    ``expires_at`` and ``priority`` are those of the credits, as in grant_credits.
    """
    return posting(
        "top_up",
        {"account_id": account_id, "amount": bigint("amount", amount)},
        key=key,
        is_active=is_active,
        ceiling_balance=bigint("ceiling_balance", ceiling_balance),
        reference=reference,
        external_id=external_id,
        metadata=jsonb("metadata", metadata),
        expires_at=instant("expires_at", expires_at),
        priority=integer("priority", priority),
        raise_refusals=raise_refusals,
    )


def grant_credits(
    account_id: str,
    amount: int,
    *,
    key: str | None = None,
    expires_at: datetime | None = None,
    priority: int | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Credit what nobody paid for: a trial, a promotion, goodwill; positive minor units.

    With ``expires_at``, aware of its time zone and in the future, or a ``priority`` (0; lower is
    drawn first) the credits form a lot of their own. A repeat of the key must repeat both, so
    compute ``expires_at`` once.
    """
    return posting(
        "grant_credits",
        {"account_id": account_id, "amount": bigint("amount", amount)},
        key=key,
        expires_at=instant("expires_at", expires_at),
        priority=integer("priority", priority),
        reference=reference,
        metadata=jsonb("metadata", metadata),
        raise_refusals=raise_refusals,
    )


def enable_transaction(
    account_id: str,
    key: str,
    *,
    external_id: str | None = None,
    metadata: Metadata | None = None,
    amount: int | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Make a pending transaction effective, with another final ``amount`` if given.

    With an ``external_id`` also after it was cancelled: the money came late. A repeat changes
    nothing and returns the posted transaction. Raises TransactionNotFoundError,
    TransactionNotPendingError, IdempotencyConflictError for another amount.
    """
    return posting(
        "enable_transaction",
        {"account_id": account_id, "key": key},
        external_id=external_id,
        metadata=jsonb("metadata", metadata),
        amount=bigint("amount", amount),
        raise_refusals=raise_refusals,
    )


def cancel_transaction(
    account_id: str,
    key: str,
    *,
    reason: str | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Drop a pending transaction; its key stays taken. A repeat changes nothing."""
    return posting(
        "cancel_transaction",
        {"account_id": account_id, "key": key},
        reason=reason,
        raise_refusals=raise_refusals,
    )


def hold(
    account_id: str,
    amount: int,
    *,
    key: str | None = None,
    expires_at: datetime | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Reserve ``amount`` (positive, minor units) for usage whose cost is not known yet.

    ``capture`` spends it, ``release`` gives it back; from ``expires_at`` on, aware of its time
    zone and in the future, it reserves nothing. A repeat of the key returns the original if it
    repeats ``expires_at`` too, so compute that once. Raises InsufficientCreditsError.
    """
    return posting(
        "hold",
        {"account_id": account_id, "amount": bigint("amount", amount)},
        key=key,
        expires_at=instant("expires_at", expires_at),
        reference=reference,
        metadata=jsonb("metadata", metadata),
        raise_refusals=raise_refusals,
    )


def capture(
    account_id: str,
    key: str,
    *,
    amount: int | None = None,
    metadata: Metadata | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Spend what a hold reserves, once: ``amount`` (positive) of it, or all; the rest is released.

    A repeat, with the same amount or none, returns the posted transaction. Raises
    ExceedsOriginalError, TransactionNotFoundError, and TransactionNotPendingError for a hold that
    was released or has expired.
    """
    return posting(
        "capture",
        {"account_id": account_id, "key": key},
        amount=bigint("amount", amount),
        metadata=jsonb("metadata", metadata),
        raise_refusals=raise_refusals,
    )


def release(
    account_id: str,
    key: str,
    *,
    reason: str | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Give back what a hold reserves; nothing is spent. A repeat changes nothing."""
    return posting(
        "release",
        {"account_id": account_id, "key": key},
        reason=reason,
        raise_refusals=raise_refusals,
    )


def refund(
    account_id: str,
    original_key: str,
    amount: int | None = None,
    *,
    key: str | None = None,
    external_id: str | None = None,
    fail_insufficient_credits: bool | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    raise_refusals: bool | None = None,
    actor: str | None = None,
) -> Call[Posting]:
    """Take back credits of a TOP_UP whose money goes back: ``amount`` (positive), or what remains.

    May be repeated under other keys up to the top-up. ``fail_insufficient_credits=False`` is for a
    chargeback: it may leave a debt. A repeat of the key or the provider's ``external_id`` returns
    the original. Raises InsufficientCreditsError, ExceedsOriginalError, TransactionNotFoundError.
    """
    return posting(
        "refund",
        {"account_id": account_id, "original_key": original_key},
        amount=bigint("amount", amount),
        key=key,
        external_id=external_id,
        fail_insufficient_credits=fail_insufficient_credits,
        reference=reference,
        metadata=jsonb("metadata", metadata),
        raise_refusals=raise_refusals,
        actor=actor,
    )


def reverse_transaction(
    account_id: str,
    original_key: str,
    amount: int | None = None,
    *,
    key: str | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    extend: timedelta | None = None,
    raise_refusals: bool | None = None,
    actor: str | None = None,
) -> Call[Posting]:
    """Undo a posted movement other than a TOP_UP: ``amount`` (positive) of it, or what remains.

    May be repeated under other keys up to the original. To reverse a credit may leave a debt.
    What a spend drew goes back to where it came from; what belongs to a lot that has expired since
    expires at once, unless ``extend`` gives that lot so much more time from now. A repeat of the
    key returns the first reversal. Raises ExceedsOriginalError, TransactionNotFoundError.
    """
    return posting(
        "reverse_transaction",
        {"account_id": account_id, "original_key": original_key},
        amount=bigint("amount", amount),
        key=key,
        reference=reference,
        metadata=jsonb("metadata", metadata),
        extend=extend,
        raise_refusals=raise_refusals,
        actor=actor,
    )


def transfer(
    from_account_id: str,
    to_account_id: str,
    amount: int,
    *,
    key: str | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Move ``amount`` (positive, minor units) between two accounts of one currency.

    Both legs are posted, or none; returns the sender's. A repeat of the key changes nothing and
    returns the original. Raises InsufficientCreditsError, and AccountNotFoundError for a receiver
    that does not exist.
    """
    return posting(
        "transfer",
        {
            "from_account_id": from_account_id,
            "to_account_id": to_account_id,
            "amount": bigint("amount", amount),
        },
        key=key,
        reference=reference,
        metadata=jsonb("metadata", metadata),
        raise_refusals=raise_refusals,
    )
