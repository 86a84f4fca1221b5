"""What the ledger promises, in plain Python: lists, a dict and arithmetic.

The model knows nothing of balance rows, locks or paths: an account is its settings, the list of its
posted movements, the dict of its announced ones, whose credits are whose, and what it told the
outbox; every answer is derived from those. Time is what `now` says; to move what is recorded into
the past is to let it pass.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tests.model_lots import NEVER
from tests.model_records import Answer, Misused, Movement, Refused, Request
from tests.model_settings import Configurable


@dataclass
class Account(Configurable):
    # Recording

    def add(self, request: Request, *, generated_key: str = "#") -> Answer:
        """Post or announce; `generated_key` is what an announcement without a key is known as."""
        is_debit = request.amount < 0
        if is_debit and (
            (request.announced and request.shortfall == "FORCE")
            or (not request.announced and request.expires_at is not None)
            or request.priority != 0
        ):
            raise Misused("22023")
        return self.replayed(request) or self.settle_and_record(request, generated_key)

    def settle_and_record(self, request: Request, generated_key: str) -> Answer:
        self.settle()
        movement = Movement(
            type=request.type,
            amount=self.judge(request),
            requested=request.amount,
            at=self.now,
            key=request.key,
            reference=request.reference,
            external_id=request.external_id,
            metadata=request.metadata,
            expires_at=request.expires_at,
            priority=request.priority,
            original=request.original,
            counterparty=request.counterparty,
        )
        if request.announced:
            movement.key = request.key or generated_key
            self.announce(movement)
        else:
            self.post(movement, extend=request.extend)
        return Answer(movement, replayed=False)

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
        if waiting.recorded_status == "ENABLED":
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
        if waiting.recorded_status != "PENDING" and (is_hold or external_id is None):
            raise Refused("LG007")

        final = waiting.amount if amount is None else -amount if is_hold else amount
        external_id = external_id or waiting.external_id
        # What was reserved is there; and who paid is credited: no ceiling, and no freeze.
        request = Request(
            amount=final, type=waiting.type, external_id=external_id, shortfall="FORCE"
        )
        original = self.by_external_id(request, besides=key)
        if original is not None:
            # It had its effect under another key: this one must not have it once more.
            self._drop(waiting)
            return Answer(original, replayed=True)
        if is_hold and final < waiting.amount:
            raise Refused("LG009")

        self.judge(request, released=-waiting.amount if is_hold else 0)
        waiting.recorded_status = "ENABLED"
        posted = replace(
            waiting,
            amount=final,
            # What a ceiling left of the announcement is still less than what was asked.
            requested=waiting.requested if final == waiting.amount else final,
            external_id=external_id,
            metadata=waiting.metadata | metadata,
            recorded_status="POSTED",
            expires_at=None if is_hold else waiting.expires_at,
            at=self.now,
            parts=[],
        )
        self.rearm(key)
        self.post(posted, released=waiting.parts if is_hold else None)
        return Answer(posted, replayed=False)

    def cancel(self, key: str, *, only_hold: bool = False) -> Answer:
        self.settle()
        waiting = self._waiting(key, only_hold=only_hold)
        if waiting.recorded_status not in {"PENDING", "CANCELLED"}:
            raise Refused("LG007")
        return Answer(waiting, replayed=not self._drop(waiting))

    def _drop(self, waiting: Movement) -> bool:
        if not waiting.is_open:
            return False
        waiting.recorded_status = "CANCELLED"
        if waiting.amount < 0:
            self.purse.unreserve(waiting.parts, self.now)
            self.settle_quietly()
        self.rearm(waiting.known_as)
        return True

    def _waiting(self, key: str, *, only_hold: bool) -> Movement:
        waiting = self.announced.get(key)
        if waiting is None:
            raise Refused("LG006" if self.find(key) is None else "LG007")
        if only_hold and waiting.amount > 0:
            raise Misused("22023")
        return waiting

    # Undoing

    def undo(self, asked: Request, original_key: str, amount: int | None) -> Answer:
        """Refund or reverse: an amount, or all that remains."""
        if asked.extend is not None and asked.extend <= timedelta(0):
            raise Misused("22023")
        self.settle()
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
            left = max(self.left_of(original.seq, asked.type), 0)
            amount = abs(repeated.amount) if repeated else left or abs(original.amount)
        signed = -amount if original.amount > 0 else amount
        return self.add(replace(asked, amount=signed, original=original.seq))

    def revoke_lot(self, key: str, reason: str) -> Answer:
        """Void what remains of a lot, and what comes back to it later."""
        self.settle()
        made = self.posted_as(key)
        if made is None:
            raise Refused("LG006")
        if made.seq not in self.purse.lots:
            raise Misused("22023")
        before = self.posted_under(f"#revoke-{made.seq}")
        if before is not None:
            return Answer(before, replayed=True)
        lot = self.purse.lots[made.seq]
        if self.status == "CLOSED":
            raise Refused("LG004")
        if lot.remaining == 0:
            raise Refused("LG009")
        movement = Movement(
            type="REVERSAL",
            amount=-lot.remaining,
            requested=-lot.remaining,
            at=self.now,
            key=f"#revoke-{made.seq}",
            metadata={"reason": reason},
            original=made.seq,
        )
        lot.expires_at = self.now
        self.post(movement)
        return Answer(movement, replayed=False)

    # What is done to it from outside

    def import_movement(self, *, amount: int, key: str | None, external_id: str | None) -> Movement:
        movement = Movement(
            type="TOP_UP",
            amount=amount,
            requested=amount,
            at=self.now,
            key=key,
            external_id=external_id,
        )
        opened = self.opened
        self.enter(movement)
        self.opened = opened
        return movement

    def grow_older(self, by: timedelta) -> None:
        for movement in [*self.posted, *self.announced.values()]:
            movement.grow_older(by)
        self.purse.grow_older(by)
        if self.plan is not None:
            self.plan.grow_older(by)
        if self.auto_top_up is not None and self.auto_top_up.paused_until is not None:
            self.auto_top_up.paused_until -= by

    # Reading, of an account that is settled

    @property
    def next_expiry(self) -> tuple[datetime | None, int | None]:
        """When credits expire next, and how many."""
        lots = [lot for lot in self.purse.lots.values() if lot.remaining]
        first = min((lot.expires_at for lot in lots), default=NEVER)
        if first == NEVER:
            return None, None
        return first, sum(lot.remaining for lot in lots if lot.expires_at == first)

    def balance_at(self, at: datetime) -> int:
        return sum(m.amount for m in self.posted if m.at <= at)

    def expiring(
        self, within: timedelta, known: int
    ) -> list[tuple[datetime, int, str, int, int, int]]:
        """When which known lots expire, soonest first, and how much of them."""
        some = (lot for lot in self.purse.lots.values() if lot.seq <= known and lot.remaining)
        soon = sorted((lot.expires_at, lot.seq) for lot in some if lot.expires_at != NEVER)
        lots = (self.purse.lots[seq] for at, seq in soon if at <= self.now + within)
        return [
            (
                *(lot.expires_at, lot.seq, self.posted[lot.seq - 1].known_as),
                *(lot.remaining, lot.held, lot.priority),
            )
            for lot in lots
        ]

    def explained(self, known: int) -> list[tuple[str, int | None, int]]:
        """The balance item by item: what is in the pool, in known lots and in others, and so on."""
        pool, available = self.purse.pool, self.available
        lots = [lot for lot in self.purse.in_draw_order() if lot.is_open]
        items: list[tuple[str, int | None, int]] = [("pool", None, max(pool, 0))]
        items += [("lot", lot.seq, lot.remaining + lot.held) for lot in lots if lot.seq <= known]
        items += [("lot", None, lot.remaining) for lot in lots if lot.seq > known]
        items += [("debt", None, pool)] if pool < 0 else []
        items += [("balance", None, self.balance), ("held", None, available - self.balance)]
        items.append(("available", None, available))
        items += [
            ("due", m.parts[0][0] if m.parts else None, m.amount) for m in self.posted[known:]
        ]
        items += [("refill", None, self.plan.plan.amount)] if self.plan else []
        return items

    def covers(self, required: int) -> bool:
        enough = self.available - required >= self.min_balance
        capped = self.cap_left is not None and self.cap_left < required
        return self.known and self.status == "OPEN" and enough and not capped


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
