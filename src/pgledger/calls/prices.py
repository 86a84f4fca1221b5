"""The calls about prices, and those that price what was used."""

from datetime import datetime

from pgledger.calls._call import (
    Call,
    Metadata,
    Quantities,
    bigint,
    instant,
    jsonb,
    many,
    numbers,
    one,
    posting,
)
from pgledger.records import Posting, PriceList, PriceRounding, Shortfall, UnitPrice, UsagePrice


def set_price(
    code: str,
    prices: Quantities,
    *,
    rounding: PriceRounding | None = None,
    valid_from: datetime | None = None,
    metadata: Metadata | None = None,
    actor: str | None = None,
) -> Call[PriceList]:
    """Set what a code (a model, a feature) costs from now on, or from ``valid_from``, to come.

    ``prices`` has the minor units of credits per unit for all its units, as ints or Decimals, such
    as ``{"input_token": Decimal("0.0015")}``; an empty one ends the sale. The sum over the units is
    rounded once: CEIL (up, the default), FLOOR or HALF_EVEN. What is or was in force never changes;
    a list to come may be replaced. Prices and rounding that are in force already change nothing.
    """
    return one(
        PriceList,
        "set_price",
        {"code": code, "prices": numbers("prices", prices)},
        rounding=rounding,
        valid_from=instant("valid_from", valid_from),
        metadata=jsonb("metadata", metadata),
        actor=actor,
    )


def price(code: str, quantities: Quantities, *, at: datetime | None = None) -> Call[UsagePrice]:
    """Return what usage would cost now, or ``at`` an instant, and why; nothing is spent.

    ``quantities`` says how many of each unit, as ints or Decimals of 0 or more. Raises
    PriceNotFoundError when the code or a unit has no price then.
    """
    return one(
        UsagePrice,
        "price",
        {"code": code, "quantities": numbers("quantities", quantities)},
        at=instant("at", at),
    )


def spend_usage(
    account_id: str,
    code: str,
    quantities: Quantities,
    *,
    key: str | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    shortfall: Shortfall | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Price what was used by the prices of now, and spend it, as spend does.

    ``quantities`` says how many of each unit, as ints or Decimals of 0 or more. The transaction
    records them with the prices; where they cost nothing its amount is 0. A repeat of the key with
    the same code and quantities returns the original, whatever the prices are now. Raises
    PriceNotFoundError, and what spend raises.
    """
    return posting(
        "spend_usage",
        {"account_id": account_id, "code": code, "quantities": numbers("quantities", quantities)},
        key=key,
        reference=reference,
        metadata=jsonb("metadata", metadata),
        shortfall=shortfall,
        raise_refusals=raise_refusals,
    )


def hold_usage(
    account_id: str,
    code: str,
    quantities: Quantities,
    *,
    key: str | None = None,
    expires_at: datetime | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Reserve what an estimate of usage costs by the prices of now, as hold does.

    ``capture_usage`` charges what was really used, at these prices. A repeat of the key returns the
    original if it repeats the code, the quantities and ``expires_at`` too. Raises
    PriceNotFoundError, what hold raises, and InvalidArgumentError for what costs nothing.
    """
    return posting(
        "hold_usage",
        {"account_id": account_id, "code": code, "quantities": numbers("quantities", quantities)},
        key=key,
        expires_at=instant("expires_at", expires_at),
        reference=reference,
        metadata=jsonb("metadata", metadata),
        raise_refusals=raise_refusals,
    )


def capture_usage(
    account_id: str,
    key: str,
    quantities: Quantities,
    *,
    shortfall: Shortfall | None = None,
    metadata: Metadata | None = None,
    raise_refusals: bool | None = None,
) -> Call[Posting]:
    """Charge what was really used to a hold of hold_usage, at its prices; the rest is released.

    What costs nothing releases the hold (CANCELLED). What costs more captures all of it, and what
    is above it is spent beside, in a transaction of its own, as ``shortfall`` says: REFUSE raises
    InsufficientCreditsError and leaves the hold open, PARTIAL takes what is there, DEBT goes down
    to the account's debt_floor. Returns the capture, its ``requested_amount`` all that was used. A
    repeat with the same quantities returns it again. Raises TransactionNotPendingError for a hold
    that was released or has expired: then spend_usage under another key.
    """
    return posting(
        "capture_usage",
        {"account_id": account_id, "key": key, "quantities": numbers("quantities", quantities)},
        shortfall=shortfall,
        metadata=jsonb("metadata", metadata),
        raise_refusals=raise_refusals,
    )


def list_prices(
    code: str | None = None,
    *,
    at: datetime | None = None,
    include_past: bool | None = None,
    limit_count: int | None = None,
    after_code: str | None = None,
) -> Call[list[UnitPrice]]:
    """Return what a code, or all codes, cost now or ``at`` an instant, one row per unit.

    ``include_past`` adds what held before then. A page has ``limit_count`` codes (1000, up to
    10,000); the next one begins ``after_code``: the code of the last row seen.
    """
    return many(
        UnitPrice,
        "list_prices",
        {},
        code=code,
        at=instant("at", at),
        include_past=include_past,
        limit_count=bigint("limit_count", limit_count),
        after_code=after_code,
    )
