"""What the ledger promises, in plain Python: lists, a dict and arithmetic.

The model knows nothing of balance rows, locks or paths: an account is its settings, the list of its
posted movements and the dict of its announced ones, and every answer is derived from those.
"""

from dataclasses import dataclass, field
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
    status: str = "POSTED"

    @property
    def known_as(self) -> str:
        return f"#{self.seq}" if self.key is None else self.key


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


@dataclass(frozen=True)
class Answer:
    """The movement a call was about, and whether it was recorded before."""

    movement: Movement
    replayed: bool


@dataclass
class Account:
    opened: bool = False
    currency: str = "CREDIT"
    status: str = "OPEN"
    min_balance: int = 0
    debt_floor: int = 0
    posted: list[Movement] = field(default_factory=list)
    announced: dict[str, Movement] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        return self.opened or bool(self.posted)

    @property
    def balance(self) -> int:
        return sum(movement.amount for movement in self.posted)

    def posted_under(self, key: str | None) -> Movement | None:
        return next((m for m in self.posted if key is not None and m.key == key), None)

    def find(self, key: str) -> Movement | None:
        """The transaction of a key or of #<seq>: posted, or announced and not enabled."""
        for movement in self.posted:
            if key in (movement.key, f"#{movement.seq}"):
                return movement
        waiting = self.announced.get(key)
        return waiting if waiting is not None and waiting.status != "ENABLED" else None

    # Postings

    def add(self, request: Request, *, generated_key: str = "#") -> Answer:
        """Post or announce; `generated_key` is what an announcement without a key is known as."""
        if request.announced and request.amount < 0:
            raise Misused("22023")
        original = self._by_key(request) or self._by_external_id(
            request.external_id, request.amount, announced=request.announced
        )
        if original is not None:
            return Answer(original, replayed=True)

        applied = self._judge(request)
        self.opened = True
        movement = Movement(
            type=request.type,
            amount=applied,
            requested=request.amount,
            key=request.key,
            reference=request.reference,
            external_id=request.external_id,
            metadata=request.metadata,
        )
        if request.announced:
            movement.key = request.key or generated_key
            movement.status = "PENDING"
            self.announced[movement.key] = movement
        else:
            self._post(movement)
        return Answer(movement, replayed=False)

    def _by_key(self, request: Request) -> Movement | None:
        if request.key is None:
            return None
        announced = self.announced.get(request.key)
        posted = self.posted_under(request.key)
        original = announced or posted
        if original is None:
            return None
        given = {m.external_id for m in (announced, posted) if m and m.external_id is not None}
        if (
            request.announced is (announced is not None)
            and request.type == original.type
            and request.amount == original.requested
            and (request.external_id is None or not given or request.external_id in given)
        ):
            return posted or original
        raise Refused("LG002")

    def _by_external_id(
        self, external_id: str | None, amount: int, *, announced: bool, besides: str | None = None
    ) -> Movement | None:
        """Return what already had the effect of this external id in this direction."""

        def is_same(movement: Movement) -> bool:
            same_direction = (movement.amount > 0) == (amount > 0)
            return movement.external_id == external_id and same_direction

        if external_id is None:
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
        if original.requested == amount and (posted is not None or announced):
            return original
        raise Refused("LG002")

    def _judge(self, request: Request) -> int:
        """How much of a new movement applies."""
        if self.status == "CLOSED":
            raise Refused("LG004")
        if request.amount > 0:
            room = HIGHEST if request.ceiling is None else request.ceiling - self.balance
            if room <= 0:
                raise Refused("LG005")
            applied = min(request.amount, room)
        elif request.shortfall == "FORCE":
            applied = request.amount
        elif self.status == "FROZEN":
            raise Refused("LG004")
        else:
            floor = self.debt_floor if request.shortfall == "DEBT" else self.min_balance
            room = self.balance - floor
            if room < -request.amount and (request.shortfall != "PARTIAL" or room <= 0):
                raise Refused("LG001")
            applied = -min(-request.amount, room)
        if not LOWEST <= self.balance + applied <= HIGHEST:
            raise Misused("22003")
        return applied

    def _post(self, movement: Movement) -> None:
        movement.running_balance = self.balance + movement.amount
        movement.seq = len(self.posted) + 1
        self.posted.append(movement)

    # Settling

    def enable(
        self, key: str, *, amount: int | None, external_id: str | None, metadata: dict[str, Any]
    ) -> Answer:
        waiting = self.announced.get(key)
        late = waiting is not None and waiting.status in {"CANCELLED", "EXPIRED"}
        if waiting is None or (late and external_id is None):
            raise Refused("LG006" if self.find(key) is None else "LG007")

        if waiting.status == "ENABLED":
            posted = self.posted_under(key)
            assert posted is not None
            other_amount = amount is not None and amount != posted.amount
            other_id = None not in (external_id, posted.external_id) and (
                external_id != posted.external_id
            )
            if other_amount or other_id:
                raise Refused("LG002")
            return Answer(posted, replayed=True)

        final = waiting.amount if amount is None else amount
        external_id = external_id or waiting.external_id
        original = self._by_external_id(external_id, final, announced=False, besides=key)
        if original is not None:
            return Answer(original, replayed=True)

        # Whoever paid is credited: no ceiling, and no freeze, which only stops debits.
        self._judge(Request(amount=final, type=waiting.type))
        waiting.status = "ENABLED"
        posted = Movement(
            type=waiting.type,
            amount=final,
            # What a ceiling left of the announcement is still less than what was asked.
            requested=waiting.requested if final == waiting.amount else final,
            key=waiting.key,
            reference=waiting.reference,
            external_id=external_id,
            metadata=waiting.metadata | metadata,
        )
        self._post(posted)
        return Answer(posted, replayed=False)

    def cancel(self, key: str) -> Answer:
        waiting = self.announced.get(key)
        if waiting is None:
            raise Refused("LG006" if self.find(key) is None else "LG007")
        if waiting.status not in {"PENDING", "CANCELLED"}:
            raise Refused("LG007")
        replayed = waiting.status == "CANCELLED"
        waiting.status = "CANCELLED"
        return Answer(waiting, replayed)

    # Settings

    def open(self, *, currency: str, min_balance: int) -> None:
        if self.opened:
            if currency != self.currency:
                raise Refused("LG002")
            return
        self.opened = True
        self.currency = currency
        self.min_balance = self.debt_floor = min_balance

    def set_status(self, status: str) -> None:
        if not self.known:
            raise Refused("LG003")
        waits = any(m.status == "PENDING" for m in self.announced.values())
        if status == "CLOSED" and (self.balance != 0 or waits):
            raise Misused("55000")
        self.opened = True
        self.status = status

    def set_limits(self, *, min_balance: int | None, debt_floor: int | None) -> None:
        if min_balance is None and debt_floor is None:
            raise Misused("22004")
        if not self.known:
            raise Refused("LG003")
        floor = self.min_balance if min_balance is None else min_balance
        lowest = floor if debt_floor is None else debt_floor
        if lowest > floor:
            raise Misused("22023")
        self.opened = True
        self.min_balance, self.debt_floor = floor, lowest

    # Another system's doing

    def import_movement(self, *, amount: int, key: str | None, external_id: str | None) -> Movement:
        movement = Movement(
            type="TOP_UP", amount=amount, requested=amount, key=key, external_id=external_id
        )
        self._post(movement)
        return movement

    # Reading

    def covers(self, required: int) -> bool:
        enough = self.balance - required >= self.min_balance
        return self.known and self.status == "OPEN" and enough
