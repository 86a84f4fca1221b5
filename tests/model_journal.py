"""What was posted and announced in the model, and how what was recorded answers a repeat."""

from dataclasses import dataclass, field

from tests.model_records import Answer, Event, Movement, Refused, Request


@dataclass
class Journal:
    posted: list[Movement] = field(default_factory=list)
    announced: dict[str, Movement] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def posted_under(self, key: str | None) -> Movement | None:
        return next((m for m in self.posted if key is not None and m.key == key), None)

    def posted_as(self, key: str) -> Movement | None:
        """The posted transaction of a key or of #<seq>."""
        return next((m for m in self.posted if key in (m.key, f"#{m.seq}")), None)

    def find(self, key: str) -> Movement | None:
        """The transaction of a key or of #<seq>: posted, or announced and not enabled."""
        waiting = self.announced.get(key)
        if waiting is not None and waiting.recorded_status == "ENABLED":
            waiting = None
        return self.posted_as(key) or waiting

    def undone(self, seq: int) -> int:
        """How much of a posted transaction refunds and reversals undid."""
        undoing = (m for m in self.posted if m.original == seq and m.type != "EXPIRY")
        return abs(sum(m.amount for m in undoing))

    def replayed(self, request: Request) -> Answer | None:
        original = self._by_key(request) or self.by_external_id(request)
        return None if original is None else Answer(original, replayed=True)

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
            and request.expires_at == original.expires_at
            and request.priority == original.priority
            and (request.external_id is None or not given or request.external_id in given)
        ):
            return posted or original
        raise Refused("LG002")

    def by_external_id(self, request: Request, *, besides: str | None = None) -> Movement | None:
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
