"""The calls about lots: credits with an expiry or a priority of their own."""

from datetime import timedelta

from pgledger.calls._call import Call, bigint, many, posting
from pgledger.records import ExpiringLot, Lot, Posting


def revoke_lot(
    account_id: str,
    key: str,
    *,
    reason: str | None = None,
    raise_refusals: bool | None = None,
    actor: str | None = None,
) -> Call[Posting]:
    """Take back what remains of the lot that the credit ``key`` made; what was spent stays spent.

    What holds reserve of it, or what is given back later, expires at once. A repeat changes
    nothing and returns the first. Raises ExceedsOriginalError when nothing remains,
    TransactionNotFoundError, and InvalidArgumentError for a credit that made no lot.
    """
    return posting(
        "revoke_lot",
        {"account_id": account_id, "key": key},
        reason=reason,
        raise_refusals=raise_refusals,
        actor=actor,
    )


def lots(
    account_id: str, *, include_closed: bool | None = None, limit_count: int | None = None
) -> Call[list[Lot]]:
    """Return the lots of an account: open ones in draw order, then closed ones, newest first.

    1,000 or ``limit_count`` of them. What has fallen due counts as expired.
    """
    return many(
        Lot,
        "lots",
        {"account_id": account_id},
        include_closed=include_closed,
        limit_count=bigint("limit_count", limit_count),
    )


def expiring(account_id: str, *, within: timedelta | None = None) -> Call[list[ExpiringLot]]:
    """Return the lots that expire ``within`` 30 days or another time, soonest first."""
    return many(ExpiringLot, "expiring", {"account_id": account_id}, within=within)
