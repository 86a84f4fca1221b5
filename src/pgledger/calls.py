"""Every operation, once: a pure function from arguments to the call of one SQL function.

The arguments are those of the SQL functions, whose comments tell the rules; None means "not given",
and the defaults live in the database. Amounts are whole minor units. A refusal raises a
:class:`~pgledger.errors.LedgerError`, or comes back as a :class:`~pgledger.records.Posting` with
status REFUSED where ``raise_refusals=False``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache
from operator import index
from typing import Any, Generic, TypeVar

from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int8

from pgledger.records import (
    Account,
    AccountStatus,
    AutoTopUp,
    AutoTopUpMode,
    Balance,
    ClaimedEvent,
    Disagreement,
    Event,
    Posting,
    ReferenceUsage,
    Shortfall,
    Transaction,
    TransactionType,
)

Metadata = Mapping[str, Any]
Rows = Sequence[tuple[Any, ...]]
Result = TypeVar("Result")
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One call of a SQL function: what to send, and what to make of the rows."""

    query: bytes
    arguments: Mapping[str, Any]
    result: Callable[[Rows], Result]


def open_account(
    account_id: str,
    currency: str | None = None,
    *,
    min_balance: int | None = None,
    metadata: Metadata | None = None,
) -> Call[Account]:
    """Open an account; not required, since a first credit opens one in CREDIT.

    ``min_balance`` (zero or negative) is the floor its spends keep to. A repeat changes nothing and
    returns the settings as they are now. Raises IdempotencyConflictError for another currency.
    """
    return _record(
        Account,
        "open_account",
        {"account_id": account_id},
        currency=currency,
        min_balance=_bigint(min_balance),
        metadata=_jsonb(metadata),
    )


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
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Post one movement of any type; positive credits, negative debits, in minor units.

    ``is_active=False`` announces a credit instead. ``ceiling_balance`` posts only what fits under
    it. ``fail_insufficient_credits=False`` debits whatever the balance. A repeat of the key or the
    external_id changes nothing and returns the original with ``replayed`` set.
    """
    return _posting(
        "add_transaction",
        {"account_id": account_id, "amount": _bigint(amount), "type": type},
        key=key,
        is_active=is_active,
        ceiling_balance=_bigint(ceiling_balance),
        fail_insufficient_credits=fail_insufficient_credits,
        reference=reference,
        external_id=external_id,
        metadata=_jsonb(metadata),
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
    return _posting(
        "spend",
        {"account_id": account_id, "amount": _bigint(amount)},
        key=key,
        reference=reference,
        metadata=_jsonb(metadata),
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
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Credit what was paid: ``amount`` positive, minor units.

    ``is_active=False`` announces a payment not made yet, for enable_transaction or
    cancel_transaction. The provider's ``external_id`` has one effect, ever, whatever the key.
    """
    return _posting(
        "top_up",
        {"account_id": account_id, "amount": _bigint(amount)},
        key=key,
        is_active=is_active,
        ceiling_balance=_bigint(ceiling_balance),
        reference=reference,
        external_id=external_id,
        metadata=_jsonb(metadata),
        raise_refusals=raise_refusals,
    )


def grant_credits(
    account_id: str,
    amount: int,
    *,
    key: str | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Credit what nobody paid for: a trial, a promotion, goodwill; positive minor units."""
    return _posting(
        "grant_credits",
        {"account_id": account_id, "amount": _bigint(amount)},
        key=key,
        reference=reference,
        metadata=_jsonb(metadata),
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
    return _posting(
        "enable_transaction",
        {"account_id": account_id, "key": key},
        external_id=external_id,
        metadata=_jsonb(metadata),
        amount=_bigint(amount),
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
    return _posting(
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
    return _posting(
        "hold",
        {"account_id": account_id, "amount": _bigint(amount)},
        key=key,
        expires_at=_instant("expires_at", expires_at),
        reference=reference,
        metadata=_jsonb(metadata),
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
    return _posting(
        "capture",
        {"account_id": account_id, "key": key},
        amount=_bigint(amount),
        metadata=_jsonb(metadata),
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
    return _posting(
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
) -> Call[Posting]:
    """Take back credits of a TOP_UP whose money goes back: ``amount`` (positive), or what remains.

    May be repeated under other keys up to the top-up. ``fail_insufficient_credits=False`` is for a
    chargeback: it may leave a debt. A repeat of the key or the provider's ``external_id`` returns
    the original. Raises InsufficientCreditsError, ExceedsOriginalError, TransactionNotFoundError.
    """
    return _posting(
        "refund",
        {"account_id": account_id, "original_key": original_key},
        amount=_bigint(amount),
        key=key,
        external_id=external_id,
        fail_insufficient_credits=fail_insufficient_credits,
        reference=reference,
        metadata=_jsonb(metadata),
        raise_refusals=raise_refusals,
    )


def reverse_transaction(
    account_id: str,
    original_key: str,
    amount: int | None = None,
    *,
    key: str | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Undo a posted movement other than a TOP_UP: ``amount`` (positive) of it, or what remains.

    May be repeated under other keys up to the original. To reverse a credit may leave a debt. A
    repeat of the key returns the first reversal. Raises ExceedsOriginalError,
    TransactionNotFoundError.
    """
    return _posting(
        "reverse_transaction",
        {"account_id": account_id, "original_key": original_key},
        amount=_bigint(amount),
        key=key,
        reference=reference,
        metadata=_jsonb(metadata),
        raise_refusals=raise_refusals,
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
    return _posting(
        "transfer",
        {
            "from_account_id": from_account_id,
            "to_account_id": to_account_id,
            "amount": _bigint(amount),
        },
        key=key,
        reference=reference,
        metadata=_jsonb(metadata),
        raise_refusals=raise_refusals,
    )


def get_credits(account_id: str) -> Call[int]:
    """Return the available credits, minor units; 0 for an unknown account."""
    return _value(
        "get_credits",
        {"account_id": account_id},
    )


def check_credits(account_id: str, required: int) -> Call[bool]:
    """Tell whether a spend of ``required`` (positive) would be accepted now; it promises nothing.

    False for an unknown, frozen or closed account. An error raises; it is never True.
    """
    return _value(
        "check_credits",
        {"account_id": account_id, "required": _bigint(required)},
    )


def get_balance(account_id: str) -> Call[Balance]:
    """Return balance, held, available, floors and status; zeros for an unknown account."""
    return _record(
        Balance,
        "get_balance",
        {"account_id": account_id},
    )


def get_transaction(account_id: str, key: str) -> Call[Transaction | None]:
    """Return the posted or pending transaction of a key or of ``#<seq>``; None when unknown."""
    return _first(
        _records(
            Transaction,
            "get_transaction",
            {"account_id": account_id, "key": key},
        )
    )


def balance_at(account_id: str, at: datetime) -> Call[int]:
    """Return the balance right after the last transaction up to and including ``at``.

    ``at`` must be aware of its time zone: a naive one would mean another instant in each session.
    """
    return _value(
        "balance_at",
        {"account_id": account_id, "at": _instant("at", at)},
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
    return _records(
        Transaction,
        "history",
        {"account_id": account_id},
        limit_count=_bigint(limit_count),
        before_seq=_bigint(before_seq),
        type=type,
    )


def usage_by_reference(
    account_id: str, *, limit_count: int | None = None, before_seq: int | None = None
) -> Call[list[ReferenceUsage]]:
    """Return what was used, one row per reference, the latest first.

    The next page begins ``before_seq``: the last_seq of the last row seen.
    """
    return _records(
        ReferenceUsage,
        "usage_by_reference",
        {"account_id": account_id},
        limit_count=_bigint(limit_count),
        before_seq=_bigint(before_seq),
    )


def set_account_status(account_id: str, status: AccountStatus) -> Call[Account]:
    """Open, freeze or close an account. Raises AccountNotFoundError, AccountNotEmptyError."""
    return _record(
        Account,
        "set_account_status",
        {"account_id": account_id, "status": status},
    )


def set_limits(
    account_id: str, *, min_balance: int | None = None, debt_floor: int | None = None
) -> Call[Account]:
    """Set the floors of an account, minor units, zero or negative; moves no credits.

    ``debt_floor`` is at most ``min_balance`` and equals it when not given.
    """
    return _record(
        Account,
        "set_limits",
        {"account_id": account_id},
        min_balance=_bigint(min_balance),
        debt_floor=_bigint(debt_floor),
    )


def set_low_balance_level(account_id: str, level: int | None = None) -> Call[Account]:
    """Set below which level of available credits an event tells; None for none. Moves nothing."""
    return _record(
        Account,
        "set_low_balance_level",
        {"account_id": account_id},
        level=_bigint(level),
    )


def set_auto_top_up(
    account_id: str,
    threshold: int,
    amount: int,
    *,
    mode: AutoTopUpMode | None = None,
    enabled: bool | None = None,
    daily_count_limit: int | None = None,
    daily_amount_limit: int | None = None,
    monthly_count_limit: int | None = None,
    monthly_amount_limit: int | None = None,
) -> Call[AutoTopUp]:
    """Set, whole, when an account tops itself up; moves no credits.

    A debit or hold that leaves available below ``threshold`` records one pending TOP_UP of
    ``amount`` (INTENT, the default) or posts it (INSTANT). Limits are per day and calendar month of
    UTC; None is none. Changed settings arm it anew; a repeat changes nothing. Raises
    AccountNotFoundError.
    """
    return _record(
        AutoTopUp,
        "set_auto_top_up",
        {"account_id": account_id, "threshold": _bigint(threshold), "amount": _bigint(amount)},
        mode=mode,
        enabled=enabled,
        daily_count_limit=_bigint(daily_count_limit),
        daily_amount_limit=_bigint(daily_amount_limit),
        monthly_count_limit=_bigint(monthly_count_limit),
        monthly_amount_limit=_bigint(monthly_amount_limit),
    )


def get_auto_top_up(account_id: str) -> Call[AutoTopUp | None]:
    """Return the auto-top-up of an account and what holds it back now; None when never set."""
    return _first(_records(AutoTopUp, "get_auto_top_up", {"account_id": account_id}))


def check_auto_top_up(account_id: str, *, reference: str | None = None) -> Call[Posting | None]:
    """Top up, or ask for it, if armed and below the threshold; after setting it, or a refusal.

    Returns the intent or the INSTANT top-up, the intent that waits already with ``replayed`` set,
    or None when nothing is to be done.
    """
    return _first(
        _records(Posting, "check_auto_top_up", {"account_id": account_id}, reference=reference)
    )


def claim_events(
    *, limit_count: int | None = None, visibility_timeout: timedelta | None = None
) -> Call[list[ClaimedEvent]]:
    """Return events nobody else is handed before ``visibility_timeout`` (a minute) is over.

    Handle them in their order, each followed by ack_events. Each comes at least once; those of an
    account come together and in order, and nobody else is handed any of them meanwhile.
    """
    return _records(
        ClaimedEvent,
        "claim_events",
        {},
        limit_count=_bigint(limit_count),
        visibility_timeout=visibility_timeout,
    )


def ack_events(account_ids: Sequence[str], seqs: Sequence[int]) -> Call[int]:
    """Acknowledge events by account and seq, pairwise; return how many were not before."""
    return _value(
        "ack_events",
        {"account_ids": list(account_ids), "seqs": [_bigint(seq) for seq in seqs]},
    )


def list_events(
    account_id: str | None = None, *, limit_count: int | None = None
) -> Call[list[Event]]:
    """Return the latest events, newest first, and take none from whoever claims them."""
    return _records(
        Event, "list_events", {}, account_id=account_id, limit_count=_bigint(limit_count)
    )


def run_due(limit_count: int | None = None) -> Call[int]:
    """Close expired holds of up to ``limit_count`` accounts (100); return of how many it did.

    Only housekeeping: an expired hold reserves nothing anyway.
    """
    return _value("run_due", _given({}, {"limit_count": _bigint(limit_count)}))


def verify(account_id: str | None = None) -> Call[list[Disagreement]]:
    """Return each disagreement with the invariants, of one account or all; none when all is well.

    For all accounts it reads everything.
    """
    return _records(Disagreement, "verify", {}, account_id=account_id)


def _bigint(value: int | None) -> Int8 | None:
    """Send any integer as one type, so that a statement is prepared once; never a float."""
    return None if value is None else Int8(index(value))


def _instant(name: str, value: datetime | None) -> datetime | None:
    """Refuse a naive time, which would mean another instant in each session."""
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, such as datetime.now(tz=UTC)")
    return value


def _jsonb(value: Metadata | None) -> Jsonb | None:
    return None if value is None else Jsonb(dict(value))


def _posting(function: str, required: Mapping[str, object], **optional: object) -> Call[Posting]:
    return _record(Posting, function, required, **optional)


def _records(
    record: type[Record], function: str, required: Mapping[str, object], **optional: object
) -> Call[list[Record]]:
    given = _given(required, optional)
    return Call(
        _records_query(record, function, tuple(given)),  # type: ignore[arg-type] # a class hashes
        given,
        result=lambda rows: [record(*row) for row in rows],
    )


def _record(
    record: type[Record], function: str, required: Mapping[str, object], **optional: object
) -> Call[Record]:
    found = _records(record, function, required, **optional)
    return Call(found.query, found.arguments, lambda rows: found.result(rows)[0])


def _first(found: Call[list[Record]]) -> Call[Record | None]:
    return Call(found.query, found.arguments, lambda rows: next(iter(found.result(rows)), None))


def _value(function: str, required: Mapping[str, object]) -> Call[Any]:
    return Call(
        f"select {_function(function, tuple(required))}".encode(),
        required,
        result=lambda rows: rows[0][0],
    )


def _given(required: Mapping[str, object], optional: Mapping[str, object]) -> dict[str, object]:
    """Leave out what was not given, since the defaults live in SQL; SQL judges what it requires."""
    return {**required, **{name: value for name, value in optional.items() if value is not None}}


# The columns are a record's fields, by name and in its order, so a row fits its constructor. All
# names come from this module and records.py, never from a caller.


@cache
def _records_query(record: type[object], function: str, names: tuple[str, ...]) -> bytes:
    columns = ", ".join(field.name for field in fields(record))  # type: ignore[arg-type]
    return f"select {columns} from {_function(function, names)}".encode()  # noqa: S608


def _function(function: str, names: tuple[str, ...]) -> str:
    arguments = ", ".join(f"{name} => %({name})s" for name in names)
    return f"pgledger.{function}({arguments})"
