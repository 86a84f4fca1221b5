"""The calls of what runs beside an application: its events, and housekeeping."""

from collections.abc import Sequence
from datetime import timedelta

from pgledger.calls._call import Call, bigint, many, scalar
from pgledger.records import ClaimedEvent, Event


def claim_events(
    *, limit_count: int | None = None, visibility_timeout: timedelta | None = None
) -> Call[list[ClaimedEvent]]:
    """Return events nobody else is handed before ``visibility_timeout`` (a minute) is over.

    Handle them in their order, each followed by ack_events. Each comes at least once; those of an
    account come together and in order, and nobody else is handed any of them meanwhile.
    """
    return many(
        ClaimedEvent,
        "claim_events",
        {},
        limit_count=bigint("limit_count", limit_count),
        visibility_timeout=visibility_timeout,
    )


def ack_events(account_ids: Sequence[str], seqs: Sequence[int]) -> Call[int]:
    """Acknowledge events by account and seq, pairwise; return how many were not before."""
    return scalar(
        "ack_events",
        {"account_ids": list(account_ids), "seqs": [bigint("seqs", seq) for seq in seqs]},
    )


def list_events(
    account_id: str | None = None, *, limit_count: int | None = None
) -> Call[list[Event]]:
    """Return the latest events, newest first, and take none from whoever claims them."""
    return many(
        Event,
        "list_events",
        {},
        account_id=account_id,
        limit_count=bigint("limit_count", limit_count),
    )


def run_due(limit_count: int | None = None) -> Call[int]:
    """Post what is due on up to ``limit_count`` accounts (100); return on how many it did.

    Expired holds and lots, and refills. Only housekeeping: balances count what is due anyway.
    """
    return scalar("run_due", {}, limit_count=bigint("limit_count", limit_count))
