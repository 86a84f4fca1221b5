"""A ledger for prepaid credits that lives in PostgreSQL.

The rules are SQL functions in the schema ``pgledger``; :class:`Ledger` and :class:`AsyncLedger`
call them inside the caller's own transaction.
"""

from pgledger.client import AsyncLedger, Ledger
from pgledger.errors import (
    AccountNotEmptyError,
    AccountNotFoundError,
    AccountNotOpenError,
    AppendOnlyError,
    CeilingReachedError,
    ExceedsOriginalError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InvalidArgumentError,
    LedgerError,
    OutOfRangeError,
    TransactionNotFoundError,
    TransactionNotPendingError,
)
from pgledger.records import (
    Account,
    AccountStatus,
    AutoTopUp,
    AutoTopUpMode,
    Balance,
    ClaimedEvent,
    Disagreement,
    Event,
    EventKind,
    Posting,
    PostingStatus,
    ReferenceUsage,
    Shortfall,
    Transaction,
    TransactionStatus,
    TransactionType,
)

__all__ = [
    "Account",
    "AccountNotEmptyError",
    "AccountNotFoundError",
    "AccountNotOpenError",
    "AccountStatus",
    "AppendOnlyError",
    "AsyncLedger",
    "AutoTopUp",
    "AutoTopUpMode",
    "Balance",
    "CeilingReachedError",
    "ClaimedEvent",
    "Disagreement",
    "Event",
    "EventKind",
    "ExceedsOriginalError",
    "IdempotencyConflictError",
    "InsufficientCreditsError",
    "InvalidArgumentError",
    "Ledger",
    "LedgerError",
    "OutOfRangeError",
    "Posting",
    "PostingStatus",
    "ReferenceUsage",
    "Shortfall",
    "Transaction",
    "TransactionNotFoundError",
    "TransactionNotPendingError",
    "TransactionStatus",
    "TransactionType",
]
