"""How the model judges a movement and posts it, what that causes, and what falls due by itself."""

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from tests.model_auto_top_up import AutoTopUp, Past
from tests.model_journal import Journal
from tests.model_lots import NEVER, Purse, first_of, negated, without_first
from tests.model_plans import Assignment, Cap, Refill
from tests.model_records import (
    HIGHEST,
    LOWEST,
    Answer,
    Event,
    Misused,
    Movement,
    Part,
    Refused,
    Request,
    Source,
    now,
)


@dataclass
class Postings(Journal):
    # The one instant at which a call judges and records, and a reader looks.
    now: datetime = field(default_factory=now)
    opened: bool = False
    currency: str = "CREDIT"
    status: str = "OPEN"
    min_balance: int = 0
    debt_floor: int = 0
    low_balance_level: int | None = None
    auto_top_up: AutoTopUp | None = None
    plan: Assignment | None = None
    cap: Cap | None = None
    purse: Purse = field(default_factory=Purse)

    @property
    def known(self) -> bool:
        return self.opened or bool(self.posted)

    @property
    def balance(self) -> int:
        return self.purse.balance

    @property
    def available(self) -> int:
        return self.purse.balance - self.purse.held

    @property
    def used(self) -> int:
        """What counts towards the cap in this period: debits for usage, less what was reversed."""
        assert self.cap is not None
        since = self.cap.since(self.now)
        return sum(
            -m.amount - self.undone(m.seq)
            for m in self.posted
            if m.type == "USAGE" and m.amount < 0 and m.at >= since and m.seq is not None
        )

    @property
    def cap_left(self) -> int | None:
        return None if self.cap is None else self.cap.amount - self.used

    # What falls due

    def settle(self) -> None:
        """Do what fell due before this call, and tell when what expired leaves too little."""
        before, level = self.available, self.low_balance_level
        self.settle_quietly()
        if level is not None and self.available < level <= before:
            payload = {"available": self.available, "level": level, "key": f"#{len(self.posted)}"}
            self.events.append(Event("low_balance", payload | {"reference": None}))

    def settle_quietly(self) -> None:
        """Do what fell due, in the order of time: first holds, then lots, then the refill."""
        while self._settle_the_first():
            pass
        auto = self.auto_top_up
        if auto is not None and auto.paused_until is not None:
            auto.paused_until = auto.paused_until if auto.paused_until > self.now.date() else None

    @property
    def is_due(self) -> bool:
        return copy.deepcopy(self)._settle_the_first()  # noqa: SLF001 - it is of our own kind

    def _settle_the_first(self) -> bool:
        holds = [
            (m.expires_at, m)
            for m in self.announced.values()
            if m.is_open_hold and m.expires_at is not None and m.expires_at <= self.now
        ]
        lots = self.purse.due(self.now)
        refill = None if self.plan is None else self.plan.due(self.now)
        dues = [at for at, _ in holds] + [at for at, _ in lots]
        if refill is not None:
            dues.append(refill.due_at)
        if not dues:
            return False
        first = min(dues)
        if any(at == first for at, _ in holds):
            _, hold = min((h for h in holds if h[0] == first), key=lambda h: h[1].known_as)
            self._expire_hold(hold, first)
        elif any(at == first for at, _ in lots):
            _, lot = min((due for due in lots if due[0] == first), key=lambda due: due[1].seq)
            self._expire(lot.seq, first)
        else:
            assert refill is not None
            self._refill(refill)
        return True

    def _expire_hold(self, hold: Movement, at: datetime) -> None:
        hold.recorded_status = "EXPIRED"
        self.purse.unreserve(hold.parts, at)
        payload = {"key": hold.key, "amount": -hold.amount, "reference": hold.reference}
        self.events.append(Event("hold_expired", payload | {"expired_at": hold.expires_at}))

    def _expire(self, lot: int, at: datetime) -> None:
        amount = self.purse.expire(self.purse.lots[lot])
        movement = Movement(
            type="EXPIRY",
            amount=-amount,
            requested=-amount,
            at=at,
            original=lot,
            parts=[(lot, amount)],
        )
        self._record(movement)

    def _refill(self, refill: Refill) -> None:
        assert self.plan is not None
        self.plan.refill_at = refill.period_end
        asked = refill.amount(self.now, self.balance, max(-self.purse.pool, 0))
        amount = min(asked, HIGHEST - max(self.balance, 0))
        if amount == 0 or self.posted_under(refill.key) is not None:
            return
        movement = Movement(
            type="GRANT",
            amount=amount,
            requested=amount,
            at=refill.due_at,
            key=refill.key,
            expires_at=refill.expires_at,
            metadata={
                "plan": refill.plan.code,
                "period_start": refill.period_start,
                "period_end": refill.period_end,
            },
        )
        self.enter(movement)

    def seen(self) -> Self:
        """The account as readers see it: with what fell due, posted or not."""
        seen = copy.deepcopy(self)
        seen.settle()
        return seen

    # Judging

    def judge(self, request: Request, *, released: int = 0) -> int:
        """How much of a new movement applies."""
        asks = request.amount < 0 and request.shortfall != "FORCE"
        if self.status == "CLOSED" or (self.status == "FROZEN" and asks):
            raise Refused("LG004")
        if request.original is not None and abs(request.amount) > self.left_of(
            request.original, request.type
        ):
            raise Refused("LG009")
        if request.expires_at is not None and request.expires_at <= self.now:
            raise Misused("22023")
        if request.amount > 0:
            room = HIGHEST if request.ceiling is None else request.ceiling - self.balance
            if room <= 0:
                raise Refused("LG005")
            applied = min(request.amount, room)
        else:
            applied = self._judge_debit(request)
        reserved = -applied if request.announced and applied < 0 else 0
        held = self.purse.held - released + reserved
        balance = self.balance if reserved else self.balance + applied
        if held > HIGHEST or not LOWEST + held <= balance <= HIGHEST:
            raise Misused("22003")
        return applied

    def _judge_debit(self, request: Request) -> int:
        asked = -request.amount
        if request.shortfall == "FORCE":
            return request.amount
        floor = self.debt_floor if request.shortfall == "DEBT" else self.min_balance
        room = self.available - floor
        left = self.cap_left if request.type == "USAGE" else None
        # The cap first: nobody should be told to top up for what is capped anyway.
        for limit, code in ((left, "LG008"), (room, "LG001")):
            partial = request.shortfall == "PARTIAL" and limit is not None and limit > 0
            if limit is not None and limit < asked and not partial:
                raise Refused(code)
        return -min(asked, room, asked if left is None else left)

    def left_of(self, seq: int, how: str) -> int:
        """What refunds and reversals left of a posted transaction."""
        left = abs(self.posted[seq - 1].amount) - self.undone(seq)
        if how == "REVERSAL" and seq in self.purse.lots:
            left -= self.purse.lots[seq].expired
        return left

    # Posting

    def post(
        self,
        movement: Movement,
        *,
        released: list[Part] | None = None,
        extend: timedelta | None = None,
    ) -> None:
        """Post a movement, then what it makes expire, and then see what level that leaves."""
        self.enter(movement, released)
        if extend is not None:
            self._extend_what_is_over(movement, extend)
        self.settle_quietly()
        if movement.amount < 0:
            self._watch(movement, movement.amount + sum(part for _, part in released or []))

    def _extend_what_is_over(self, reversal: Movement, extend: timedelta) -> None:
        given_back = [lot for lot, amount in reversal.parts if lot is not None and amount < 0]
        for lot in (self.purse.lots[seq] for seq in given_back):
            if lot.expires_at <= self.now:
                lot.expires_at = self.now + extend

    def enter(self, movement: Movement, released: list[Part] | None = None) -> None:
        if movement.amount < 0:
            if released is not None:
                self.purse.unreserve(released, movement.at)
                movement.parts = first_of(released, -movement.amount)
            else:
                movement.parts = self.purse.payers(-movement.amount, first=self._own(movement))
            self.purse.take(movement.parts)
        elif movement.original is not None:
            parts = self._to_give_back(movement)
            self.purse.give_back(parts, movement.at)
            movement.parts = negated(parts)
        elif movement.makes_a_lot:
            ends_at = NEVER if movement.expires_at is None else movement.expires_at
            self.purse.pay_in_a_lot(
                len(self.posted) + 1, movement.amount, movement.priority, ends_at
            )
        else:
            self.purse.pay_in(movement.amount)
        self._record(movement)

    def _own(self, movement: Movement) -> tuple[Source, ...]:
        """Who pays first for undoing a credit: what it brought."""
        if movement.original is None:
            return ()
        return (movement.original if movement.original in self.purse.lots else None,)

    def _to_give_back(self, movement: Movement) -> list[Part]:
        """What a reversal gives to whom: last drawn first, after what was given back before."""
        assert movement.original is not None
        drawn = self.posted[movement.original - 1].parts
        left = without_first(reversed(drawn), self.undone(movement.original))
        return first_of(left, movement.amount)

    def _record(self, movement: Movement) -> None:
        self.opened = True
        before = self.posted[-1] if self.posted else None
        movement.at = max(movement.at, before.at) if before else movement.at
        movement.running_balance = (before.running_balance or 0 if before else 0) + movement.amount
        movement.seq = len(self.posted) + 1
        self.posted.append(movement)
        assert movement.running_balance == self.purse.balance

    def announce(self, movement: Movement) -> None:
        self.opened = True
        assert movement.key is not None
        movement.recorded_status = "PENDING"
        self.announced[movement.key] = movement
        if movement.amount < 0:
            movement.parts = self.purse.payers(-movement.amount)
            self.purse.reserve(movement.parts)
            self._watch(movement, movement.amount)

    # What a level causes

    def _watch(self, movement: Movement, change: int) -> None:
        available, level = self.available, self.low_balance_level
        if level is not None and available < level <= available - change:
            payload = {"available": available, "level": level, "key": movement.known_as}
            self.events.append(Event("low_balance", payload | {"reference": movement.reference}))
        self._top_up(movement.reference)

    def _top_up(self, reference: str | None) -> Movement | None:
        auto = self.auto_top_up
        if auto is None or not auto.armed or self.status != "OPEN":
            return None
        available, amount = self.available, auto.settings.amount
        if available >= auto.settings.threshold:
            return None
        auto.paused_until = auto.pause(self.now.date(), self._top_ups_before())
        if auto.paused_until is not None:
            return None
        instant = auto.settings.mode == "INSTANT"
        if instant and self.balance + amount > HIGHEST:
            return None  # whatever goes wrong with a top-up, the debit stands
        auto.intents += 1
        key = f"#auto-{auto.intents}"
        movement = Movement(
            type="TOP_UP",
            amount=amount,
            requested=amount,
            at=self.now,
            key=key,
            reference=reference,
        )
        if instant:
            self.post(movement)
            return movement
        self.announce(movement)
        auto.waiting_for = key
        payload = {"key": key, "amount": amount, "available": available, "reference": reference}
        payload["threshold"] = auto.settings.threshold
        self.events.append(Event("top_up_requested", payload))
        return movement

    def _top_ups_before(self) -> list[Past]:
        assert self.auto_top_up is not None
        past = []
        for number in range(1, self.auto_top_up.intents + 1):
            posted = self.posted_under(f"#auto-{number}")
            asked = self.announced.get(f"#auto-{number}")
            if counted := posted or (asked if asked and asked.is_open else None):
                past.append(Past((asked or counted).at.date(), counted.amount))
        return past

    def rearm(self, key: str) -> None:
        if self.auto_top_up is not None and self.auto_top_up.waiting_for == key:
            self.auto_top_up.waiting_for = None

    def check_auto_top_up(self, reference: str | None) -> Answer | None:
        self.settle()
        waiting_for = self.auto_top_up.waiting_for if self.auto_top_up else None
        if waiting_for is not None:
            return Answer(self.announced[waiting_for], replayed=True)
        movement = self._top_up(reference)
        return None if movement is None else Answer(movement, replayed=False)
