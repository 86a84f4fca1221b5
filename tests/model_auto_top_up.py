"""When an account tops itself up: its settings, what holds it back, and the limits of a period."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta


@dataclass(frozen=True, kw_only=True)
class Settings:
    threshold: int
    amount: int
    mode: str
    enabled: bool
    daily_count_limit: int | None
    daily_amount_limit: int | None
    monthly_count_limit: int | None
    monthly_amount_limit: int | None

    @property
    def could_ever_top_up(self) -> bool:
        counts = (self.daily_count_limit, self.monthly_count_limit)
        amounts = (self.daily_amount_limit, self.monthly_amount_limit)
        return all(limit is None or limit >= 1 for limit in counts) and all(
            limit is None or limit >= self.amount for limit in amounts
        )


@dataclass(frozen=True)
class Past:
    """An auto-top-up that was asked for and not cancelled."""

    day: date
    amount: int


@dataclass(kw_only=True)
class AutoTopUp:
    settings: Settings
    intents: int = 0
    waiting_for: str | None = None
    paused_until: date | None = None

    @property
    def armed(self) -> bool:
        return self.settings.enabled and self.waiting_for is None and self.paused_until is None

    def changed(self, settings: Settings) -> "AutoTopUp":
        """What other settings make of it: armed anew. The same settings change nothing."""
        if settings == self.settings:
            return self
        return replace(self, settings=settings, waiting_for=None, paused_until=None)

    def pause(self, today: date, past: Iterable[Past]) -> date | None:
        """When the period ends whose limit one more would exceed."""
        this_month = [p for p in past if p.day >= today.replace(day=1)]
        given = self.settings
        if exceeds(this_month, given.amount, given.monthly_count_limit, given.monthly_amount_limit):
            return (today.replace(day=1) + timedelta(days=32)).replace(day=1)
        this_day = [p for p in this_month if p.day >= today]
        if exceeds(this_day, given.amount, given.daily_count_limit, given.daily_amount_limit):
            return today + timedelta(days=1)
        return None


def exceeds(
    past: list[Past], amount: int, count_limit: int | None, amount_limit: int | None
) -> bool:
    total = sum(p.amount for p in past) + amount
    return (count_limit is not None and len(past) + 1 > count_limit) or (
        amount_limit is not None and total > amount_limit
    )
