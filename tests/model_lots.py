"""Whose credits are whose: the pool and the lots of an account, and who pays first."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.model_records import Part, Source

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(kw_only=True)
class Lot:
    """Credits with an expiry or a priority of their own, named by the seq of what brought them."""

    seq: int
    priority: int
    expires_at: datetime
    granted: int
    remaining: int
    held: int = 0
    expired: int = 0
    came_back_at: datetime | None = None

    @property
    def drawn(self) -> int:
        return self.granted - self.remaining - self.held - self.expired

    @property
    def is_open(self) -> bool:
        return self.remaining + self.held > 0

    @property
    def due_at(self) -> datetime | None:
        """When what remains expires: at its time, or when it comes back after that."""
        if self.remaining == 0 or self.expires_at == NEVER:
            return None
        return max(self.expires_at, self.came_back_at or self.expires_at)

    @property
    def draw_order(self) -> tuple[int, datetime, int]:
        return self.priority, self.expires_at, self.seq


@dataclass(kw_only=True)
class Purse:
    """All credits of an account, each in a lot or in the pool, and free or reserved by a hold."""

    pool: int = 0
    held_in_pool: int = 0
    lots: dict[int, Lot] = field(default_factory=dict)

    @property
    def free_pool(self) -> int:
        """What the pool can pay."""
        return self.pool - self.held_in_pool

    @property
    def balance(self) -> int:
        return self.pool + sum(lot.remaining + lot.held for lot in self.lots.values())

    @property
    def held(self) -> int:
        return self.held_in_pool + sum(lot.held for lot in self.lots.values())

    def in_draw_order(self) -> list[Lot]:
        return sorted(self.lots.values(), key=lambda lot: lot.draw_order)

    # Who pays

    def sources(self) -> list[Source]:
        """Lots by priority, expiry and age; the pool has priority 0 and never expires."""
        places: list[tuple[tuple[int, datetime, float], Source]] = [
            ((0, NEVER, float("inf")), None)
        ]
        places += [(lot.draw_order, lot.seq) for lot in self.lots.values()]
        return [source for _, source in sorted(places, key=lambda place: place[0])]

    def payers(self, amount: int, *, first: tuple[Source, ...] = ()) -> list[Part]:
        """Who pays an amount, in order; what nobody covers is the pool's debt."""
        parts = []
        for source in [*first, *(s for s in self.sources() if s not in first)]:
            free = self.free_pool if source is None else self.lots[source].remaining
            part = min(amount, free)
            if part > 0:
                parts.append((source, part))
                amount -= part
        return with_debt(parts, amount)

    def take(self, parts: Iterable[Part]) -> None:
        for source, amount in parts:
            if source is None:
                self.pool -= amount
            else:
                self.lots[source].remaining -= amount

    def reserve(self, parts: Iterable[Part]) -> None:
        for source, amount in parts:
            if source is None:
                self.held_in_pool += amount
            else:
                self.lots[source].remaining -= amount
                self.lots[source].held += amount

    # Who gets it

    def pay_in(self, amount: int) -> None:
        self.pool += amount

    def pay_in_a_lot(self, seq: int, amount: int, priority: int, expires_at: datetime) -> None:
        """What the pool owes is paid first; the rest is the lot, and be it nothing."""
        paid = min(amount, max(-self.pool, 0))
        self.pool += paid
        self.lots[seq] = Lot(
            seq=seq,
            priority=priority,
            expires_at=expires_at,
            granted=amount - paid,
            remaining=amount - paid,
        )

    def unreserve(self, parts: Iterable[Part], at: datetime) -> None:
        for source, amount in parts:
            if source is None:
                self.held_in_pool -= amount
            else:
                self.lots[source].held -= amount
                self._back_to(self.lots[source], amount, at)

    def give_back(self, parts: Iterable[Part], at: datetime) -> None:
        for source, amount in parts:
            if source is None:
                self.pool += amount
            else:
                self._back_to(self.lots[source], amount, at)

    def _back_to(self, lot: Lot, amount: int, at: datetime) -> None:
        lot.remaining += amount
        lot.came_back_at = at

    # What is over

    def expire(self, lot: Lot) -> int:
        amount, lot.remaining = lot.remaining, 0
        lot.expired += amount
        return amount

    def due(self, at: datetime) -> list[tuple[datetime, Lot]]:
        """The lots that expire up to an instant, with the instant of each."""
        dues = ((lot.due_at, lot) for lot in self.lots.values())
        return [(due_at, lot) for due_at, lot in dues if due_at is not None and due_at <= at]

    def grow_older(self, by: timedelta) -> None:
        for lot in self.lots.values():
            if lot.expires_at != NEVER:
                lot.expires_at -= by
            if lot.came_back_at is not None:
                lot.came_back_at -= by


def with_debt(parts: list[Part], debt: int) -> list[Part]:
    """What the pool has and then owes is one part, unless somebody pays in between."""
    if debt and parts and parts[-1][0] is None:
        return [*parts[:-1], (None, parts[-1][1] + debt)]
    return [*parts, (None, debt)] if debt else parts


def first_of(parts: Iterable[Part], amount: int) -> list[Part]:
    """The parts that an amount covers, in their order."""
    covered = []
    for source, part in parts:
        if amount > 0:
            covered.append((source, min(part, amount)))
            amount -= part
    return covered


def without_first(parts: Iterable[Part], amount: int) -> list[Part]:
    """The parts that are left when an amount is gone, in their order."""
    left = []
    for source, part in parts:
        if part > amount:
            left.append((source, part - amount))
        amount = max(amount - part, 0)
    return left


def negated(parts: Iterable[Part]) -> list[Part]:
    return [(source, -amount) for source, amount in parts]
