"""The call that posts many movements at once."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal

from pgledger.calls._call import (
    Call,
    Metadata,
    Quantities,
    bigint,
    exact,
    instant,
    integer,
    jsonb,
    many,
    numbers,
    text,
)
from pgledger.records import Posting, Shortfall, TransactionType

BatchShortfall = Shortfall | Literal["FORCE"]


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One movement of a batch, as add_transaction takes it: a debit is negative, in minor units.

    ``shortfall`` is that of spend, or FORCE: whatever the balance, as with
    ``fail_insufficient_credits=False``. ``expires_at`` and ``priority`` are those of a credit. With
    a ``code`` and ``quantities``, ``amount`` None and the type USAGE it is priced as spend_usage
    does.
    """

    account_id: str
    amount: int | None
    type: TransactionType
    key: str | None = None
    reference: str | None = None
    metadata: Metadata | None = field(default=None, hash=False)
    shortfall: BatchShortfall | None = None
    external_id: str | None = None
    ceiling_balance: int | None = None
    expires_at: datetime | None = None
    priority: int | None = None
    code: str | None = None
    quantities: Quantities | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be sent, while it is known whose item it is."""
        for attribute, sent in _JUDGED:
            value = getattr(self, attribute)
            if value is not None:
                sent(attribute, value)


# Each array of the function: the attribute it is made of, and what is sent for one.
ARRAYS: Mapping[str, tuple[str, Callable[[str, Any], object]]] = {
    "account_ids": ("account_id", text),
    "amounts": ("amount", bigint),
    "types": ("type", text),
    "keys": ("key", text),
    "reference_ids": ("reference", text),
    "metadata": ("metadata", jsonb),
    "shortfalls": ("shortfall", text),
    "external_ids": ("external_id", text),
    "ceiling_balances": ("ceiling_balance", bigint),
    "expires_at": ("expires_at", instant),
    "priorities": ("priority", integer),
    "codes": ("code", text),
    "quantities": ("quantities", numbers),
}
# What is sent is made of them once more, so the objects are only looked at.
_JUDGED = (
    *((name, sent) for name, sent in ARRAYS.values() if name not in {"metadata", "quantities"}),
    ("quantities", exact),
)


def post_batch(items: Iterable[BatchItem], *, atomic: bool | None = None) -> Call[list[Posting]]:
    """Post many movements in one call; return the posting of each, in the order given.

    The items of an account take effect in that order. A refused item is a posting with status
    REFUSED (:func:`~pgledger.errors.refusal_of` makes the exception of it) and does not affect the
    others; with ``atomic`` the first one raises, ``item`` in its details is its place from 1, and
    nothing is posted. A repeat of the batch is a repeat of each item by its key. The balance rows
    stay locked until commit: 1,000 items is a good size.
    """
    batch = list(items)
    arrays = {
        name: [sent(attribute, value) for value in map(attrgetter(attribute), batch)]
        for name, (attribute, sent) in ARRAYS.items()
    }
    required = {name: arrays.pop(name) for name in ("account_ids", "amounts", "types")}
    # An array of nothing but nulls is one that was not given.
    given = {name: array for name, array in arrays.items() if array.count(None) < len(array)}
    return many(Posting, "post_batch", required, atomic=atomic, **given)
