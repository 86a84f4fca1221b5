"""The calls that read: what an account has, what happened, and whether all of it agrees."""

from datetime import datetime
from uuid import UUID

from pgledger.calls._call import Call, bigint, first, instant, many, one, scalar
from pgledger.records import (
    AuditEntry,
    Balance,
    BalanceItem,
    Disagreement,
    Draw,
    ReferenceUsage,
    Transaction,
    TransactionType,
)


def get_credits(account_id: str) -> Call[int]:
    """Return the available credits, minor units; 0 for an unknown account."""
    return scalar(
        "get_credits",
        {"account_id": account_id},
    )


def check_credits(account_id: str, required: int) -> Call[bool]:
    """Tell whether a spend of ``required`` (positive) would be accepted now; it promises nothing.

    False for an unknown, frozen or closed account. An error raises; it is never True.
    """
    return scalar(
        "check_credits",
        {"account_id": account_id, "required": bigint("required", required)},
    )


def get_balance(account_id: str) -> Call[Balance]:
    """Return balance, held, available, floors, status and the next expiry; zeros when unknown."""
    return one(
        Balance,
        "get_balance",
        {"account_id": account_id},
    )


def get_transaction(account_id: str, key: str) -> Call[Transaction | None]:
    """Return the posted or pending transaction of a key or of ``#<seq>``; None when unknown."""
    return first(
        many(
            Transaction,
            "get_transaction",
            {"account_id": account_id, "key": key},
        )
    )


def balance_at(account_id: str, at: datetime) -> Call[int]:
    """Return the balance right after the last transaction up to and including ``at``.

    ``at`` must be aware of its time zone: a naive one would mean another instant in each session.
    """
    return scalar(
        "balance_at",
        {"account_id": account_id, "at": instant("at", at)},
    )


def history(
    account_id: str,
    *,
    limit_count: int | None = None,
    before_seq: int | None = None,
    type: TransactionType | None = None,  # noqa: A002 - the parameter's name in SQL
) -> Call[list[Transaction]]:
    """Return posted transactions, newest first, 100 or ``limit_count`` (up to 10,000) of them.

    The next page begins ``before_seq``: the seq of the last one seen.
    """
    return many(
        Transaction,
        "history",
        {"account_id": account_id},
        limit_count=bigint("limit_count", limit_count),
        before_seq=bigint("before_seq", before_seq),
        type=type,
    )


def usage_by_reference(
    account_id: str, *, limit_count: int | None = None, before_seq: int | None = None
) -> Call[list[ReferenceUsage]]:
    """Return what was used, one row per reference, the latest first.

    The next page begins ``before_seq``: the last_seq of the last row seen.
    """
    return many(
        ReferenceUsage,
        "usage_by_reference",
        {"account_id": account_id},
        limit_count=bigint("limit_count", limit_count),
        before_seq=bigint("before_seq", before_seq),
    )


def explain_transaction(account_id: str, key: str) -> Call[list[Draw]]:
    """Return which lots paid for a transaction, or got it, how much and why in that order.

    Of a hold, what it reserves. Nothing for an unknown key.
    """
    return many(
        Draw,
        "explain_transaction",
        {"account_id": account_id, "key": key},
    )


def explain_balance(account_id: str) -> Call[list[BalanceItem]]:
    """Return a balance in rows and words: the pool, each lot, debt, holds, and what is due."""
    return many(
        BalanceItem,
        "explain_balance",
        {"account_id": account_id},
    )


def list_audit(
    account_id: str | None = None,
    *,
    act: str | None = None,
    actor: str | None = None,
    limit_count: int | None = None,
    before_at: datetime | None = None,
    before_id: UUID | None = None,
) -> Call[list[AuditEntry]]:
    """Return who did what by hand, newest first: on one account or anywhere, one act or all.

    ``act`` is the name of a function, such as ``"set_limits"``. A page has ``limit_count`` (100, up
    to 10,000); the next one is what came before ``created_at`` and ``id`` of the last one seen.
    """
    return many(
        AuditEntry,
        "list_audit",
        {},
        account_id=account_id,
        act=act,
        actor=actor,
        limit_count=bigint("limit_count", limit_count),
        before_at=instant("before_at", before_at),
        before_id=before_id,
    )


def verify(account_id: str | None = None) -> Call[list[Disagreement]]:
    """Return each disagreement with the invariants, of one account or all; none when all is well.

    For all accounts it reads everything.
    """
    return many(Disagreement, "verify", {}, account_id=account_id)
