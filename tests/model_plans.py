"""Plans that refill an account period after period, and caps on what it spends in one; in UTC."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

# A Monday: weeks are counted from it, and days as well.
MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def period_start(at: datetime, period: timedelta, anchor: datetime = MONDAY) -> datetime:
    """When the period began that an instant is in; the first instant of one is in it."""
    return anchor + (at - anchor) // period * period


@dataclass(frozen=True, kw_only=True)
class Plan:
    code: str
    amount: int
    period: timedelta
    policy: str
    anchor: str


@dataclass(frozen=True, kw_only=True)
class Refill:
    """What one period of a plan brings, and when it falls due."""

    plan: Plan
    due_at: datetime
    period_start: datetime

    @property
    def period_end(self) -> datetime:
        return self.period_start + self.plan.period

    @property
    def day(self) -> date:
        return self.period_start.date()

    @property
    def key(self) -> str:
        return f"#refill-{self.plan.code}-{self.day}"

    @property
    def expires_at(self) -> datetime | None:
        return self.period_end if self.plan.policy == "RESET" else None

    def amount(self, now: datetime, balance: int, debt: int) -> int:
        if self.plan.policy == "TOP_UP_TO":
            return max(self.plan.amount - balance, 0)
        if self.plan.policy == "RESET" and self.period_end <= now:
            # All that is left of an allowance that is over is the debt that it paid in time.
            return min(self.plan.amount, debt)
        return self.plan.amount


@dataclass(kw_only=True)
class Assignment:
    """The plan of an account: since when, when it refills next, and what follows it."""

    plan: Plan
    starts_at: datetime
    refill_at: datetime
    next_plan: Plan | None = None

    def period_start(self, at: datetime) -> datetime:
        anchor = self.starts_at if self.plan.anchor == "ACCOUNT" else MONDAY
        return period_start(at, self.plan.period, anchor)

    def due(self, at: datetime) -> Refill | None:
        """The refill that falls due first, up to an instant; a change of plan comes with it."""
        if self.refill_at > at:
            return None
        if self.next_plan is not None:
            self.plan, self.next_plan = self.next_plan, None
            self.starts_at = self.refill_at
        # What is only filled up is filled up once, however often it was missed.
        if self.plan.policy == "TOP_UP_TO":
            return self.refill_of(max(self.refill_at, self.period_start(at)))
        return self.refill_of(self.refill_at)

    def refill_of(self, at: datetime) -> Refill:
        """The refill of the period that an instant is in."""
        return Refill(plan=self.plan, due_at=at, period_start=self.period_start(at))

    def grow_older(self, by: timedelta) -> None:
        self.starts_at -= by
        self.refill_at -= by


@dataclass(frozen=True, kw_only=True)
class Cap:
    """How much an account may use in a period of the calendar."""

    amount: int
    period: timedelta

    def since(self, at: datetime) -> datetime:
        return period_start(at, self.period)

    def resets_at(self, at: datetime) -> datetime:
        return self.since(at) + self.period
