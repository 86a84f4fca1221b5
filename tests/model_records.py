"""What the model of the ledger is made of: movements, requests, answers, events and refusals."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

LOWEST, HIGHEST = -(2**63), 2**63 - 1

# Where credits come from and go back to: a lot, by its seq, or the pool.
Source = int | None
# So many credits of one source.
Part = tuple[Source, int]


class Refused(Exception):  # noqa: N818 - it is the ledger's word
    """A refusal that a caller may ask to get as a row."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Misused(Exception):  # noqa: N818 - so is this
    """An error that is always raised."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def now() -> datetime:
    """The clock of this machine, which is the server's too."""
    return datetime.now(UTC)


@dataclass(kw_only=True)
class Movement:
    """A posted movement, or an announced one while `seq` is None."""

    type: str
    amount: int
    requested: int
    at: datetime
    key: str | None = None
    reference: str | None = None
    external_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    seq: int | None = None
    running_balance: int | None = None
    recorded_status: str = "POSTED"
    # When a hold expires; of a credit, when its credits do, as it was given.
    expires_at: datetime | None = None
    priority: int = 0
    original: int | None = None
    counterparty: str | None = None
    # What it took of each source, or, below 0, gave back to it; of an open hold, what it reserves.
    parts: list[Part] = field(default_factory=list)

    @property
    def known_as(self) -> str:
        return f"#{self.seq}" if self.key is None else self.key

    @property
    def is_open(self) -> bool:
        return self.recorded_status == "PENDING"

    @property
    def is_open_hold(self) -> bool:
        return self.is_open and self.amount < 0

    @property
    def is_posted_debit(self) -> bool:
        return self.seq is not None and self.amount < 0

    def is_open_hold_at(self, at: datetime) -> bool:
        return self.is_open_hold and (self.expires_at is None or self.expires_at > at)

    @property
    def makes_a_lot(self) -> bool:
        return self.amount > 0 and (self.expires_at is not None or self.priority != 0)

    def grow_older(self, by: timedelta) -> None:
        self.at -= by
        if self.expires_at is not None:
            self.expires_at -= by
        if "period_start" in self.metadata:
            self.metadata = self.metadata | {
                name: self.metadata[name] - by for name in ("period_start", "period_end")
            }
            self.key = f"#refill-{self.metadata['plan']}-{self.metadata['period_start'].date()}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A movement as somebody asks for it."""

    amount: int
    type: str
    key: str | None = None
    announced: bool = False
    ceiling: int | None = None
    shortfall: str = "REFUSE"
    reference: str | None = None
    external_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    priority: int = 0
    original: int | None = None
    counterparty: str | None = None
    extend: timedelta | None = None


@dataclass(frozen=True)
class Answer:
    """The movement a call was about, and whether it was recorded before."""

    movement: Movement
    replayed: bool


@dataclass(frozen=True)
class Event:
    kind: str
    payload: dict[str, Any]
