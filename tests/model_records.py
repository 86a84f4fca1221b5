"""What the model of the ledger is made of: movements, requests, answers, events and refusals."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

LOWEST, HIGHEST = -(2**63), 2**63 - 1


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
    key: str | None
    reference: str | None = None
    external_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    seq: int | None = None
    running_balance: int | None = None
    recorded_status: str = "POSTED"
    expires_at: datetime | None = None
    original: int | None = None
    counterparty: str | None = None
    day: date = field(default_factory=lambda: now().date())

    @property
    def known_as(self) -> str:
        return f"#{self.seq}" if self.key is None else self.key

    @property
    def is_due(self) -> bool:
        """Whether its time is over and nothing says so yet."""
        over = self.expires_at is not None and self.expires_at <= now()
        return over and self.recorded_status == "PENDING"

    @property
    def status(self) -> str:
        return "EXPIRED" if self.is_due else self.recorded_status


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
    original: int | None = None
    counterparty: str | None = None


@dataclass(frozen=True)
class Answer:
    """The movement a call was about, and whether it was recorded before."""

    movement: Movement
    replayed: bool


@dataclass(frozen=True)
class Event:
    kind: str
    payload: dict[str, Any]
