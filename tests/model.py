"""What the ledger promises, in plain Python: lists, a dict and arithmetic.

The model knows nothing of balance rows, locks or paths: an account is its settings, the list of its
posted movements, the dict of its announced ones and what it told the outbox; every answer is
derived from those. Time is what `now` says; to move what is recorded into the past is to let it
pass.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from tests.model_auto_top_up import AutoTopUp, Past, Settings
from tests.model_records import (
    HIGHEST,
    LOWEST,
    Answer,
    Event,
    Misused,
    Movement,
    Refused,
    Request,
    now,
)


@dataclass
class Account:
    opened: bool = False
    currency: str = "CREDIT"
    status: str = "OPEN"
    min_balance: int = 0
    debt_floor: int = 0
    low_balance_level: int | None = None
    auto_top_up: AutoTopUp | None = None
    posted: list[Movement] = field(default_factory=list)
    announced: dict[str, Movement] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def known(self) -> bool:
        return self.opened or bool(self.posted)

    @property
    def balance(self) -> int:
        return sum(movement.amount for movement in self.posted)

    @property
    def held(self) -> int:
        """What open holds reserve."""
        open_ones = (m for m in self.announced.values() if m.status == "PENDING")
        return sum(-m.amount for m in open_ones if m.amount < 0)

    @property
    def available(self) -> int:
        return self.balance - self.held

    def posted_under(self, key: str | None) -> Movement | None:
        return next((m for m in self.posted if key is not None and m.key == key), None)

    def posted_as(self, key: str) -> Movement | None:
        """The posted transaction of a key or of #<seq>."""
        return next((m for m in self.posted if key in (m.key, f"#{m.seq}")), None)

    def find(self, key: str) -> Movement | None:
        """The transaction of a key or of #<seq>: posted, or announced and not enabled."""
        waiting = self.announced.get(key)
        if waiting is not None and waiting.status == "ENABLED":
            waiting = None
        return self.posted_as(key) or waiting

    # Postings

    def add(self, request: Request, *, generated_key: str = "#") -> Answer:
        """Post or announce; `generated_key` is what an announcement without a key is known as."""
        if request.announced and request.amount < 0 and request.shortfall == "FORCE":
            raise Misused("22023")
        return self.replayed(request) or self.settle_and_record(request, generated_key)

    def replayed(self, request: Request) -> Answer | None:
        original = self._by_key(request) or self._by_external_id(request)
        return None if original is None else Answer(original, replayed=True)

    def settle_and_record(self, request: Request, generated_key: str) -> Answer:
        self.settle()
        movement = Movement(
            type=request.type,
            amount=self.judge(request),
            requested=request.amount,
            key=request.key,
            reference=request.reference,
            external_id=request.external_id,
            metadata=request.metadata,
            original=request.original,
            counterparty=request.counterparty,
        )
        if request.announced:
            movement.key = request.key or generated_key
            movement.expires_at = request.expires_at
            self._announce(movement)
        else:
            self.post(movement)
        return Answer(movement, replayed=False)

    def _by_key(self, request: Request) -> Movement | None:
        announced = self.announced.get(request.key or "")
        posted = self.posted_under(request.key)
        original = announced or posted
        if original is None:
            return None
        given = {m.external_id for m in (announced, posted) if m and m.external_id is not None}
        if (
            request.announced is (announced is not None)
            and request.type == original.type
            and request.amount == original.requested
            and request.original == (posted.original if posted else None)
            and request.counterparty == (posted.counterparty if posted else None)
            and request.expires_at == (announced.expires_at if announced else None)
            and (request.external_id is None or not given or request.external_id in given)
        ):
            return posted or original
        raise Refused("LG002")

    def _by_external_id(self, request: Request, *, besides: str | None = None) -> Movement | None:
        """Return what already had the effect of this external id in this direction."""

        def is_same(movement: Movement) -> bool:
            same_direction = (movement.amount > 0) == (request.amount > 0)
            return movement.external_id == request.external_id and same_direction

        if request.external_id is None:
            return None
        posted = next((m for m in self.posted if is_same(m)), None)
        waiting = None
        if posted is None:
            others = (m for key, m in self.announced.items() if key != besides)
            waiting = next((m for m in others if is_same(m)), None)
            if waiting is None:
                return None
            posted = self.posted_under(waiting.key)

        original = posted or waiting
        assert original is not None
        # Money that arrived is not answered with an announcement that still waits for it.
        if (
            original.requested == request.amount
            and original.original == request.original
            and (posted is not None or request.announced)
        ):
            return original
        raise Refused("LG002")

    def judge(self, request: Request, *, released: int = 0) -> int:
        """How much of a new movement applies."""
        asks = request.amount < 0 and request.shortfall != "FORCE"
        if self.status == "CLOSED" or (self.status == "FROZEN" and asks):
            raise Refused("LG004")
        if request.original is not None and abs(request.amount) > self.left_of(request.original):
            raise Refused("LG009")
        if request.amount > 0:
            room = HIGHEST if request.ceiling is None else request.ceiling - self.balance
            if room <= 0:
                raise Refused("LG005")
            applied = min(request.amount, room)
        else:
            applied = self._judge_debit(request)
        reserved = -applied if request.announced and applied < 0 else 0
        held = self.held - released + reserved
        balance = self.balance if reserved else self.balance + applied
        if held > HIGHEST or not LOWEST + held <= balance <= HIGHEST:
            raise Misused("22003")
        return applied

    def _judge_debit(self, request: Request) -> int:
        if request.expires_at is not None and request.expires_at <= now():
            raise Misused("22023")
        if request.shortfall == "FORCE":
            return request.amount
        floor = self.debt_floor if request.shortfall == "DEBT" else self.min_balance
        room = self.available - floor
        if room < -request.amount and (request.shortfall != "PARTIAL" or room <= 0):
            raise Refused("LG001")
        return -min(-request.amount, room)

    def post(self, movement: Movement, *, released: int = 0) -> None:
        self.opened = True
        movement.running_balance = self.balance + movement.amount
        movement.seq = len(self.posted) + 1
        self.posted.append(movement)
        if movement.amount < 0:
            self._watch(movement, movement.amount + released)

    def _announce(self, movement: Movement) -> None:
        self.opened = True
        assert movement.key is not None
        movement.recorded_status = "PENDING"
        self.announced[movement.key] = movement
        if movement.amount < 0:
            self._watch(movement, movement.amount)

    # What falls due, and what a level causes

    def settle(self) -> None:
        """Close what expired, in the order of time, and end a pause that is over."""
        due = [m for m in self.announced.values() if m.is_due]
        for hold in sorted(due, key=lambda m: (m.expires_at, m.key)):
            hold.recorded_status = "EXPIRED"
            payload = {"key": hold.key, "amount": -hold.amount, "reference": hold.reference}
            self.events.append(Event("hold_expired", payload | {"expired_at": hold.expires_at}))
        auto = self.auto_top_up
        if auto is not None and auto.paused_until is not None:
            auto.paused_until = auto.paused_until if auto.paused_until > now().date() else None

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
        auto.paused_until = auto.pause(now().date(), self._top_ups_before())
        if auto.paused_until is not None:
            return None
        instant = auto.settings.mode == "INSTANT"
        if instant and self.balance + amount > HIGHEST:
            return None  # whatever goes wrong with a top-up, the debit stands
        auto.intents += 1
        key = f"#auto-{auto.intents}"
        movement = Movement(
            type="TOP_UP", amount=amount, requested=amount, key=key, reference=reference
        )
        if instant:
            self.post(movement)
            return movement
        self._announce(movement)
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
            if counted := posted or (asked if asked and asked.status == "PENDING" else None):
                past.append(Past((asked or counted).day, counted.amount))
        return past

    def check_auto_top_up(self, reference: str | None) -> Answer | None:
        self.settle()
        waiting_for = self.auto_top_up.waiting_for if self.auto_top_up else None
        if waiting_for is not None:
            return Answer(self.announced[waiting_for], replayed=True)
        movement = self._top_up(reference)
        return None if movement is None else Answer(movement, replayed=False)

    def _rearm(self, key: str) -> None:
        if self.auto_top_up is not None and self.auto_top_up.waiting_for == key:
            self.auto_top_up.waiting_for = None

    # Settling

    def enable(
        self,
        key: str,
        *,
        amount: int | None,
        external_id: str | None,
        metadata: dict[str, Any],
        only_hold: bool = False,
    ) -> Answer:
        self.settle()
        waiting = self._waiting(key, only_hold=only_hold)
        if waiting.status == "ENABLED":
            posted = self.posted_under(key)
            assert posted is not None
            other_amount = amount is not None and amount != abs(posted.amount)
            other_id = None not in (external_id, posted.external_id) and (
                external_id != posted.external_id
            )
            if other_amount or other_id:
                raise Refused("LG002")
            return Answer(posted, replayed=True)
        is_hold = waiting.amount < 0
        if waiting.status != "PENDING" and (is_hold or external_id is None):
            raise Refused("LG007")

        final = waiting.amount if amount is None else -amount if is_hold else amount
        external_id = external_id or waiting.external_id
        # What was reserved is there; and who paid is credited: no ceiling, and no freeze.
        request = Request(
            amount=final, type=waiting.type, external_id=external_id, shortfall="FORCE"
        )
        original = self._by_external_id(request, besides=key)
        if original is not None:
            # It had its effect under another key: this one must not have it once more.
            if waiting.status == "PENDING":
                waiting.recorded_status = "CANCELLED"
                self._rearm(key)
            return Answer(original, replayed=True)
        if is_hold and final < waiting.amount:
            raise Refused("LG009")

        released = -waiting.amount if is_hold else 0
        self.judge(request, released=released)
        waiting.recorded_status = "ENABLED"
        posted = replace(
            waiting,
            amount=final,
            # What a ceiling left of the announcement is still less than what was asked.
            requested=waiting.requested if final == waiting.amount else final,
            external_id=external_id,
            metadata=waiting.metadata | metadata,
            recorded_status="POSTED",
            expires_at=None,
            day=now().date(),
        )
        self._rearm(key)
        self.post(posted, released=released)
        return Answer(posted, replayed=False)

    def cancel(self, key: str, *, only_hold: bool = False) -> Answer:
        self.settle()
        waiting = self._waiting(key, only_hold=only_hold)
        if waiting.status not in {"PENDING", "CANCELLED"}:
            raise Refused("LG007")
        return self._drop(waiting, Answer(waiting, replayed=waiting.status == "CANCELLED"))

    def _drop(self, waiting: Movement, answer: Answer) -> Answer:
        if waiting.status == "PENDING":
            waiting.recorded_status = "CANCELLED"
            self._rearm(waiting.known_as)
        return answer

    def _waiting(self, key: str, *, only_hold: bool) -> Movement:
        waiting = self.announced.get(key)
        if waiting is None:
            raise Refused("LG006" if self.find(key) is None else "LG007")
        if only_hold and waiting.amount > 0:
            raise Misused("22023")
        return waiting

    # Undoing

    def left_of(self, seq: int) -> int:
        """What refunds and reversals left of a posted transaction."""
        undone = sum(m.amount for m in self.posted if m.original == seq)
        return abs(self.posted[seq - 1].amount) - abs(undone)

    def undo(self, asked: Request, original_key: str, amount: int | None) -> Answer:
        """Refund or reverse: an amount, or all that remains."""
        original = self.posted_as(original_key)
        if original is None:
            raise Refused("LG006")
        reversible = {"USAGE", "GRANT", "CARD_CHECK", "ADJUSTMENT"}
        is_refund = asked.type == "REFUND"
        paid = original.type == "TOP_UP" and original.amount > 0
        if not (paid if is_refund else original.type in reversible):
            raise Misused("22023")
        assert original.seq is not None
        if amount is None:
            names = {asked.key, asked.external_id} - {None}
            before = (m for m in self.posted if m.original == original.seq)
            repeated = next((m for m in before if {m.key, m.external_id} & names), None)
            left = self.left_of(original.seq)
            amount = abs(repeated.amount) if repeated else left or abs(original.amount)
        signed = -amount if original.amount > 0 else amount
        return self.add(replace(asked, amount=signed, original=original.seq))

    # Settings

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
            waits = any(m.status == "PENDING" for m in self.announced.values())
            if status == "CLOSED" and (self.balance != 0 or waits):
                raise Misused("55000")
            if status == "FROZEN" != self.status:
                self.events.append(Event("account_frozen", {}))
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

    # What is done to it from outside

    def import_movement(self, *, amount: int, key: str | None, external_id: str | None) -> Movement:
        movement = Movement(
            type="TOP_UP", amount=amount, requested=amount, key=key, external_id=external_id
        )
        opened = self.opened
        self.post(movement)
        self.opened = opened
        return movement

    def grow_older(self, by: timedelta) -> None:
        for movement in [*self.posted, *self.announced.values()]:
            movement.day -= by
            if movement.expires_at is not None:
                movement.expires_at -= by
        if self.auto_top_up is not None and self.auto_top_up.paused_until is not None:
            self.auto_top_up.paused_until -= by

    # Reading

    def covers(self, required: int) -> bool:
        enough = self.available - required >= self.min_balance
        return self.known and self.status == "OPEN" and enough


def transfer(sender: Account, receiver: Account, debit: Request, sender_id: str) -> Answer:
    """Both legs or none, one key on both; the answer is the sender's leg."""
    if (original := sender.replayed(debit)) is not None:
        return original
    sender.settle()
    receiver.settle()
    credit = replace(debit, amount=-debit.amount, counterparty=sender_id)
    if debit.key is not None and receiver.find(debit.key) is not None:
        raise Refused("LG002")
    if not receiver.known:
        raise Refused("LG003")
    if sender.currency != receiver.currency:
        raise Misused("22023")
    sender.judge(debit)
    receiver.judge(credit)
    receiver.settle_and_record(credit, "")
    return sender.settle_and_record(debit, "")
