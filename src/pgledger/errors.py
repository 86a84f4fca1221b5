"""One class per error code, and the one place that turns a SQLSTATE into it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import psycopg
from psycopg import errors

from pgledger.records import Posting

# Another run of the same transaction may succeed.
RETRYABLE = (errors.SerializationFailure, errors.DeadlockDetected)


class LedgerError(Exception):
    """The ledger refused; nothing was written.

    ``sqlstate`` is the code to branch on, ``details`` the values behind the refusal, ``hint`` what
    to do about it.
    """

    sqlstates: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, message: str, *, sqlstate: str, details: Mapping[str, Any], hint: str | None
    ) -> None:
        """Keep the parts apart, and make one sentence of them for whoever prints the error."""
        self.message = message
        self.sqlstate = sqlstate
        self.details = dict(details)
        self.hint = hint
        values = ", ".join(
            f"{name}={value}" for name, value in sorted(self.details.items()) if value is not None
        )
        super().__init__(f"{message} ({values})" if values else message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by the parts: an exception would be made again of its sentence alone."""
        parts = (self.message, self.sqlstate, self.details, self.hint)
        return _made_again, (type(self), *parts), vars(self)


def _made_again(
    kind: type[LedgerError],
    message: str,
    sqlstate: str,
    details: Mapping[str, Any],
    hint: str | None,
) -> LedgerError:
    return kind(message, sqlstate=sqlstate, details=details, hint=hint)


class InsufficientCreditsError(LedgerError):
    """Available credits minus the amount would fall below the floor (LG001)."""

    sqlstates = ("LG001",)


class IdempotencyConflictError(LedgerError):
    """The key, external_id or account was used for something else (LG002)."""

    sqlstates = ("LG002",)


class AccountNotFoundError(LedgerError):
    """The operation needs an account that does not exist (LG003)."""

    sqlstates = ("LG003",)


class AccountNotOpenError(LedgerError):
    """The account is frozen, for a debit, or closed, for anything (LG004)."""

    sqlstates = ("LG004",)


class CeilingReachedError(LedgerError):
    """The balance is already at or above ceiling_balance (LG005)."""

    sqlstates = ("LG005",)


class TransactionNotFoundError(LedgerError):
    """There is no transaction of this key (LG006)."""

    sqlstates = ("LG006",)


class TransactionNotPendingError(LedgerError):
    """The transaction was already enabled or cancelled, or was never announced (LG007)."""

    sqlstates = ("LG007",)


class SpendingCapReachedError(LedgerError):
    """The spending cap of the period would be exceeded; ``resets_at`` in the details (LG008)."""

    sqlstates = ("LG008",)


class ExceedsOriginalError(LedgerError):
    """A capture, refund or reversal above what remains of its original (LG009)."""

    sqlstates = ("LG009",)


class AppendOnlyError(LedgerError):
    """An attempt to change or delete a posted transaction (LG010)."""

    sqlstates = ("LG010",)


class PriceNotFoundError(LedgerError):
    """The code, or one of the units used, has no price at that instant (LG011)."""

    sqlstates = ("LG011",)


class TopUpLimitError(LedgerError):
    """A top-up beyond a limit; ``limit``, ``allowed``, ``used`` in the details (LG012)."""

    sqlstates = ("LG012",)


class AccountNotEmptyError(LedgerError):
    """An account is closed only at balance 0 with nothing pending (55000)."""

    sqlstates = ("55000",)


class InvalidArgumentError(LedgerError, ValueError):
    """An argument is missing or breaks its rule (22004; 22023, 22P02, 22021, 22007, 22008)."""

    sqlstates = ("22023", "22004", "22P02", "22021", "22007", "22008")


class OutOfRangeError(LedgerError, ValueError):
    """An amount, or the balance it would lead to, is no bigint (22003)."""

    sqlstates = ("22003",)


class TransactionAbortedError(errors.InFailedSqlTransaction):
    """An error inside a transaction was caught, and the transaction went on: it is rolled back.

    PostgreSQL takes nothing more in a transaction of which a statement failed, and answers its
    COMMIT with a rollback. ``failure`` is the error that was caught, in words, where the ledger
    knows it. Not a LedgerError: who catches refusals does not mean this.
    """

    def __init__(self, failure: str | None = None) -> None:
        """Say what failed, where it is known, and what to do instead."""
        self.failure = failure
        super().__init__(
            "the transaction is rolled back: a statement in it failed "
            f"({failure or 'not one of the ledger'}), and the error was caught inside it; "
            "let it leave the block, catch it around a nested transaction(), or ask for refusals "
            "as rows with raise_refusals=False"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by what failed, of which the sentence is made again."""
        return type(self), (self.failure,)


class BatcherClosedError(RuntimeError):
    """The batcher is closed, or has broken down: the movement was not sent, nothing was written."""


ERRORS: Mapping[str, type[LedgerError]] = {
    sqlstate: error
    for error in (
        InsufficientCreditsError,
        IdempotencyConflictError,
        AccountNotFoundError,
        AccountNotOpenError,
        CeilingReachedError,
        TransactionNotFoundError,
        TransactionNotPendingError,
        SpendingCapReachedError,
        ExceedsOriginalError,
        AppendOnlyError,
        PriceNotFoundError,
        TopUpLimitError,
        AccountNotEmptyError,
        InvalidArgumentError,
        OutOfRangeError,
    )
    for sqlstate in error.sqlstates
}


@contextmanager
def translated() -> Iterator[None]:
    """Raise the ledger's refusals as LedgerError; let every other database error through."""
    try:
        yield
    except psycopg.Error as error:
        refusal = translate(error)
        if refusal is None:
            raise
        raise refusal from error
    except OverflowError as error:
        # psycopg could not send an integer of more than 64 bits.
        raise OutOfRangeError(
            "number out of range",
            sqlstate="22003",
            details={},
            hint="An amount is a bigint, within plus or minus 2^63 - 1 minor units.",
        ) from error


def translate(error: psycopg.Error) -> LedgerError | None:
    """Return the LedgerError of a database error, or None when it is not the ledger's."""
    if isinstance(error, psycopg.DataError) and error.sqlstate is None:
        # psycopg itself could not send the value, such as a text with a NUL character.
        return InvalidArgumentError(str(error), sqlstate="22021", details={}, hint=None)
    kind = ERRORS.get(error.sqlstate or "")
    if kind is None or error.sqlstate is None:
        return None
    return kind(
        error.diag.message_primary or str(error),
        sqlstate=error.sqlstate,
        details=_parsed(error.diag.message_detail),
        hint=error.diag.message_hint,
    )


def refusal_of(posting: Posting) -> LedgerError:
    """Return the exception that a refusal answered as a row would have been."""
    error = posting.error or {}
    sqlstate = posting.refusal or ""
    return ERRORS.get(sqlstate, LedgerError)(
        error.get("message", "refused"),
        sqlstate=sqlstate,
        details=error.get("detail") or {},
        hint=error.get("hint"),
    )


def _parsed(detail: str | None) -> dict[str, Any]:
    """Read the JSON object the ledger puts into DETAIL; PostgreSQL's own details are prose."""
    try:
        details = json.loads(detail or "{}")
    except ValueError:
        return {"detail": detail}
    return details if isinstance(details, dict) else {"detail": detail}
