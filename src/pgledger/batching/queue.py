"""Who is sent when, and what each caller is told. Nothing here waits, locks or talks to a database.

Each account has a lane, first come, first served. An account of a batch under way is passed over
until that batch is settled: no two batches of an account are ever under way, so its movements keep
their order. Accounts take turns: the one that waits longest is served next, and one with many
movements, once it had a batch full of them, queues up again behind the others.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import psycopg
from psycopg import errors

from pgledger import calls
from pgledger.calls import BatchItem, Call
from pgledger.calls._call import whole
from pgledger.errors import RETRYABLE, BatcherClosedError, LedgerError, refusal_of
from pgledger.records import Posting

# How often a batch that lost a deadlock or a snapshot is sent in all.
ATTEMPTS = 5
# What a single item can be the cause of, for which the others must not be refused; and so can any
# error that is not the database's, of a value that cannot be sent.
OF_ONE_ITEM = (
    LedgerError,
    psycopg.DataError,
    psycopg.IntegrityError,
    errors.LockNotAvailable,
    errors.ProgramLimitExceeded,
    errors.RaiseException,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much goes into a batch, how long one waits for more (seconds), how much may wait."""

    max_items: int
    max_delay: float
    max_queued: int
    connections: int

    def __post_init__(self) -> None:
        """Refuse what would send nothing, or never."""
        for name in ("max_items", "max_queued", "connections"):
            if whole(name, getattr(self, name)) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not isinstance(self.max_delay, (int, float)):
            raise TypeError(f"max_delay: {self.max_delay!r} is no int or float")
        if not 0 <= self.max_delay < float("inf"):
            raise ValueError("max_delay must be a number of seconds, 0 or more")


@dataclass(frozen=True, slots=True)
class Movement:
    """An item for a batch, and whether its caller wants a refusal raised.

    ``alone`` makes the call that is made when there is no other item: it costs half as much.
    """

    item: BatchItem
    raises: bool
    alone: Callable[[], Call[Posting]] | None = None


class Promise(Protocol):
    """What a future of asyncio and one of threads have in common."""

    def done(self) -> bool:
        """Say whether there is nothing to tell any more."""
        ...

    def set_result(self, result: Posting, /) -> None:
        """Tell the result."""
        ...

    def set_exception(self, exception: BaseException, /) -> None:
        """Tell the error."""
        ...


@dataclass(slots=True, eq=False)
class Entry:
    """A movement, and the caller who waits for what becomes of it."""

    movement: Movement
    promise: Promise
    sent: bool = False
    withdrawn: bool = False

    @property
    def account(self) -> str:
        """Whose movement it is."""
        return self.movement.item.account_id

    def answer(self, posting: Posting) -> None:
        """Tell the caller what the single call would have returned, or raised."""
        # A single call raises a misuse even when it was asked to return refusals.
        if posting.refusal and (self.movement.raises or posting.refusal.startswith("22")):
            self.fail(refusal_of(posting))
        elif not self.promise.done():
            self.promise.set_result(posting)

    def fail(self, error: BaseException) -> None:
        """Tell the caller that there is no answer."""
        if not self.promise.done():
            self.promise.set_exception(error)


class Batch:
    """Movements on their way: in one call, again after a conflict, in parts where one is bad."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Begin with all of them as one part."""
        self.entries = entries
        self._parts = [entries] if entries else []
        self._attempts = 0

    @property
    def is_settled(self) -> bool:
        """Whether every caller was told."""
        return not self._parts

    def send(self) -> list[Movement]:
        """Return the next part, less the movements of callers who went away; now it is sent."""
        part = [entry for entry in self._parts[-1] if not entry.withdrawn]
        for entry in part:
            entry.sent = True
        self._parts[-1] = part
        return [entry.movement for entry in part]

    def posted(self, postings: Sequence[Posting]) -> None:
        """Tell the callers of a part that is committed."""
        for entry, posting in zip(self._parts[-1], postings, strict=True):
            entry.answer(posting)
        self._parts.pop()
        self._attempts = 0

    def failed(self, error: Exception, *, answered: bool) -> None:
        """Try a part again, or in halves, or tell its callers what became of it.

        What was ``answered`` before the error is sent no more, unless it is the server that says
        that it was not committed.
        """
        self._attempts += 1
        if isinstance(error, RETRYABLE) and self._attempts < ATTEMPTS:
            return
        self._attempts = 0
        part = self._parts.pop()
        in_doubt = answered and getattr(error, "sqlstate", None) is None
        if in_doubt or not _may_be_of_one_item(error):
            # What is wrong with the connection or the server is wrong for the other parts too.
            part = [*part, *(entry for rest in reversed(self._parts) for entry in rest)]
            self._parts.clear()
        elif len(part) > 1:
            middle = len(part) // 2
            self._parts += [part[middle:], part[:middle]]  # the first half goes first
            return
        for entry in part:
            entry.fail(error if len(part) == 1 else _own(error))

    def lost(self, error: BaseException) -> None:
        """Tell everybody that nobody is left to tell them more."""
        while self._parts:
            for entry in self._parts.pop():
                told = _unknown() if entry.sent else _not_sent(error)
                told.__cause__ = error
                entry.fail(told)


def together(movements: Sequence[Movement]) -> Call[list[Posting]]:
    """Return the call that posts some movements."""
    if len(movements) == 1 and movements[0].alone is not None:
        alone = movements[0].alone()
        return Call(alone.query, alone.arguments, lambda rows: [alone.result(rows)])
    return calls.post_batch(movement.item for movement in movements)


class Queue:
    """What waits to be sent: at most ``max_queued`` movements, and beyond them callers in line.

    Who stands in line is let in as there is room, in the order in which they came.
    """

    def __init__(self, limits: Limits) -> None:
        """Begin empty and open."""
        self.limits = limits
        # All that was asked for and is not settled: in line, waiting or under way.
        self.unsettled: set[Entry] = set()
        self.queued = 0
        self.closing = False
        self.broken: BaseException | None = None
        # How many want what waits to be sent without delay.
        self.flushing = 0
        self._line: OrderedDict[Entry, None] = OrderedDict()
        self._lanes: dict[str, OrderedDict[Entry, None]] = {}
        self._next: OrderedDict[str, None] = OrderedDict()
        self._under_way: set[str] = set()
        self._last = 0

    @property
    def in_line(self) -> int:
        """How many wait for room."""
        return len(self._line)

    def require_open(self) -> None:
        """Raise BatcherClosedError when nothing is taken in any more."""
        if self.broken is not None:
            raise _not_sent(self.broken) from self.broken
        if self.closing:
            raise BatcherClosedError("the batcher is closed")

    # What waits

    def put(self, entry: Entry) -> None:
        """Take a movement in, or its caller into the line."""
        self.require_open()
        self.unsettled.add(entry)
        self._line[entry] = None
        self._admit()

    def _admit(self) -> None:
        while self._line and self.queued < self.limits.max_queued:
            entry, _ = self._line.popitem(last=False)
            account = entry.account
            self._lanes.setdefault(account, OrderedDict())[entry] = None
            if account not in self._under_way:
                self._next.setdefault(account)
            self.queued += 1

    def withdraw(self, entry: Entry) -> None:
        """Take a movement back whose caller went away, unless it was sent."""
        if entry.sent or entry not in self.unsettled:
            return
        entry.withdrawn = True
        self.unsettled.discard(entry)
        account = entry.account
        if entry in self._line:
            del self._line[entry]
        elif entry in self._lanes.get(account, ()):  # or in a batch that waits for a connection
            del self._lanes[account][entry]
            self.queued -= 1
            self._drop_if_empty(account)
            self._admit()

    def _drop_if_empty(self, account: str) -> None:
        if not self._lanes[account]:
            del self._lanes[account]
            self._next.pop(account, None)

    # What is sent

    @property
    def is_ready(self) -> bool:
        """Whether anything may be sent."""
        return bool(self._next)

    @property
    def is_over(self) -> bool:
        """Whether nothing will ever be ready again, but for what a batch under way holds back."""
        return self.broken is not None or (self.closing and not self.queued)

    @property
    def is_worth_it(self) -> bool:
        """Whether to send now rather than to wait for more.

        Where half as many wait as the batch before carried, its callers are not about to come
        again. A caller who is alone therefore never waits.
        """
        return bool(self.closing or self.flushing or 2 * self.queued >= self._last)

    def take(self) -> Batch:
        """Return what is to be sent next, at most ``max_items``; nobody else sends its accounts."""
        entries: list[Entry] = []
        while self._next and len(entries) < self.limits.max_items:
            account, _ = self._next.popitem(last=False)
            self._under_way.add(account)
            lane = self._lanes[account]
            while lane and len(entries) < self.limits.max_items:
                entries.append(lane.popitem(last=False)[0])
            self._drop_if_empty(account)
        self.queued -= len(entries)
        self._last = len(entries) or self._last
        self._admit()
        return Batch(entries)

    def settle(self, batch: Batch) -> None:
        """Forget a batch whose callers were told; its accounts may be sent again."""
        for entry in batch.entries:
            self.unsettled.discard(entry)
            account = entry.account
            self._under_way.discard(account)
            if account in self._lanes:
                self._next.setdefault(account)

    def break_down(self, error: BaseException) -> None:
        """Tell all who wait that nothing will be sent any more; what is under way goes on."""
        self.broken = self.broken or error
        waiting = [*(entry for lane in self._lanes.values() for entry in lane), *self._line]
        self._lanes.clear()
        self._next.clear()
        self._line.clear()
        self.queued = 0
        self.unsettled.difference_update(waiting)
        for entry in waiting:
            entry.fail(_not_sent(error))


def _may_be_of_one_item(error: Exception) -> bool:
    return isinstance(error, OF_ONE_ITEM) or not isinstance(error, psycopg.Error)


def _own(error: Exception) -> Exception:
    """Copy an error: each caller raises it in a place of its own, and may add to it."""
    try:
        own = copy.copy(error)
    except Exception:  # noqa: BLE001 - an error of some library that cannot be copied
        return error
    own.__cause__ = error
    return own


def _not_sent(error: BaseException) -> BatcherClosedError:
    told = BatcherClosedError(f"the batcher broke down: {error!r}; this movement was not sent")
    told.__cause__ = error
    return told


def _unknown() -> psycopg.OperationalError:
    return psycopg.OperationalError(
        "the batcher broke down while this movement was under way: whether it was posted is not "
        "known; repeat it by its key"
    )
