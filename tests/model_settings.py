"""The settings of an account in the model: its limits, levels, plan and cap, and their setters."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tests.model_auto_top_up import AutoTopUp, Settings
from tests.model_plans import Assignment, Cap, Plan
from tests.model_postings import Postings
from tests.model_records import Event, Misused, Refused


@dataclass
class Configurable(Postings):
    def open(self, *, currency: str, min_balance: int) -> None:
        if self.opened:
            if currency != self.currency:
                raise Refused("LG002")
            return
        self.opened = True
        self.currency = currency
        self.min_balance = self.debt_floor = min_balance

    def _set(self, change: Callable[[], None]) -> None:
        if not self.known:
            raise Refused("LG003")
        self.settle()
        change()
        self.opened = True

    def set_status(self, status: str) -> None:
        def change() -> None:
            waits = any(m.is_open for m in self.announced.values()) or any(
                lot.is_open for lot in self.purse.lots.values()
            )
            if status == "CLOSED" and (self.balance != 0 or waits):
                raise Misused("55000")
            if status == "FROZEN" != self.status:
                self.events.append(Event("account_frozen", {}))
            if status == "CLOSED":
                self.plan = None
            self.status = status

        self._set(change)

    def set_limits(self, *, min_balance: int | None, debt_floor: int | None) -> None:
        if min_balance is None and debt_floor is None:
            raise Misused("22004")

        def change() -> None:
            floor = self.min_balance if min_balance is None else min_balance
            lowest = floor if debt_floor is None else debt_floor
            if lowest > floor:
                raise Misused("22023")
            self.min_balance, self.debt_floor = floor, lowest

        self._set(change)

    def set_low_balance_level(self, level: int | None) -> None:
        def change() -> None:
            self.low_balance_level = level

        self._set(change)

    def set_auto_top_up(self, settings: Settings) -> None:
        if not settings.could_ever_top_up:
            raise Misused("22023")

        def change() -> None:
            before = self.auto_top_up or AutoTopUp(settings=settings)
            self.auto_top_up = before.changed(settings)

        self._set(change)

    # Plans and caps

    def assign_plan(
        self, plan: Plan, *, starts_at: datetime | None, at_once: bool, expire_allowance: bool
    ) -> None:
        if (at_once and starts_at is not None) or (expire_allowance and not at_once):
            raise Misused("22023")

        def change() -> None:
            before = self.plan
            if self.status == "CLOSED":
                raise Refused("LG004")
            begun = (before.plan, before.starts_at) if before else None
            if begun is not None and starts_at is not None and begun != (plan, starts_at):
                raise Misused("22023")
            if before is None:
                starts = starts_at or self.now
                self.plan = Assignment(plan=plan, starts_at=starts, refill_at=max(starts, self.now))
            elif plan == before.plan:
                before.next_plan = None
            elif not at_once:
                before.next_plan = plan
            else:
                if expire_allowance:
                    self._expire_allowance()
                self.plan = Assignment(plan=plan, starts_at=self.now, refill_at=self.now)
            self.settle()

        self._set(change)

    def clear_plan(self, *, expire_allowance: bool) -> Assignment | None:
        cleared = None

        def change() -> None:
            nonlocal cleared
            if expire_allowance:
                self._expire_allowance()
            cleared, self.plan = self.plan, None

        self._set(change)
        return cleared

    def allowance(self) -> int | None:
        """The lot that the plan's policy RESET made for this period."""
        if self.plan is None or self.plan.plan.policy != "RESET":
            return None
        key = self.plan.refill_of(self.now).key
        made = self.posted_under(key)
        return made.seq if made else None

    def _expire_allowance(self) -> None:
        lot = self.allowance()
        if lot is not None:
            ends_at = self.purse.lots[lot].expires_at
            self.purse.lots[lot].expires_at = min(ends_at, self.now)
            self.settle()

    def set_cap(self, cap: Cap | None) -> None:
        def change() -> None:
            self.cap = cap

        self._set(change)
