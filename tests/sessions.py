"""Races as scripts: sessions stepped by hand, and many connections started together.

Nothing here sleeps and hopes. A step returns when its statement finished or when the server says
that it waits for somebody's lock; a race starts its racers on a barrier, round after round.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg.rows import DictRow

Row = dict[str, Any]
Connection = psycopg.Connection[DictRow]
Connect = Callable[..., Connection]

# A step that neither finishes nor waits for a lock is a bug in the test; this only ends it.
DEADLINE_SECONDS = 30.0
POLL_SECONDS = 0.001

# Conflicts a caller answers by running its transaction again.
RETRY = frozenset({"40001", "40P01"})

LEVELS: list[LiteralString] = ["read committed", "repeatable read", "serializable"]
SNAPSHOT_LEVELS: list[LiteralString] = LEVELS[1:]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a statement answered: its rows, or the SQLSTATE of its error."""

    rows: Sequence[Row] = ()
    sqlstate: str | None = None
    error: psycopg.Error | None = field(default=None, compare=False, repr=False)

    @property
    def row(self) -> Row:
        """The only row, or the error again where there is none."""
        if self.error is not None:
            raise self.error
        (row,) = self.rows
        return row

    @property
    def word(self) -> str:
        """The outcome in one word: `ok`, `replayed`, or the SQLSTATE raised or returned."""
        if self.sqlstate is not None:
            return self.sqlstate
        row = self.rows[0] if self.rows else {}
        return row.get("refusal") or ("replayed" if row.get("replayed") else "ok")


def attempt(connection: Connection, statement: LiteralString, *arguments: object) -> Outcome:
    """Run one statement and report what came of it; only a broken script raises."""
    try:
        cursor = connection.execute(statement, arguments)
        return Outcome(rows=cursor.fetchall() if cursor.description else ())
    except psycopg.Error as error:
        return Outcome(sqlstate=error.sqlstate or "connection lost", error=error)


class Session:
    """One session of a script, on a connection and a thread of its own."""

    def __init__(self, connection: Connection, watcher: Connection) -> None:
        self.connection = connection
        self.pid = connection.info.backend_pid
        self._watcher = watcher
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._running: Future[Outcome] | None = None

    def run(self, statement: LiteralString, *arguments: object) -> Outcome:
        """Run a statement that must not wait for anybody."""
        blocked = self.start(statement, *arguments)
        assert not blocked, f"expected not to wait: {statement}"
        return self.finish()

    def start(self, statement: LiteralString, *arguments: object) -> bool:
        """Start a statement; true when it now waits for a lock, false when it finished."""
        assert self._running is None, "finish the statement before the next one"
        self._running = self._thread.submit(attempt, self.connection, statement, *arguments)
        give_up = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < give_up:
            if wait([self._running], timeout=POLL_SECONDS).done:
                return False
            if self.is_blocked():
                return True
        raise AssertionError(f"neither finished nor waiting for a lock: {statement}")

    def finish(self) -> Outcome:
        """The outcome of the statement started last, once whoever it waited for let it go."""
        assert self._running is not None, "nothing was started"
        running, self._running = self._running, None
        return running.result(timeout=DEADLINE_SECONDS)

    def is_blocked(self) -> bool:
        """Whether the server says that this session waits for another one."""
        asked = self._watcher.execute(
            "select cardinality(pg_blocking_pids(%s)) > 0 as blocked", (self.pid,)
        ).fetchone()
        return asked is not None and bool(asked["blocked"])

    def close(self) -> None:
        """End the session, whatever it is doing."""
        if self._running is not None and not self._running.done():
            self._watcher.execute("select pg_terminate_backend(%s)", (self.pid,))
        self._thread.shutdown(wait=True)
        self.connection.close()


@contextmanager
def stepped(connect: Connect, count: int = 2) -> Iterator[list[Session]]:
    """Sessions to be stepped by hand, in autocommit: a script says `begin` itself."""
    watcher = connect()
    sessions = [Session(connect(), watcher) for _ in range(count)]
    try:
        yield sessions
    finally:
        for session in sessions:
            session.close()


def begin(session: Session, level: LiteralString) -> None:
    """Start a transaction whose snapshot, where it keeps one, is taken now."""
    session.run("begin isolation level " + level)
    session.run("select count(*) from pgledger.accounts")


Call = tuple[LiteralString, Sequence[object]]


class Gate:
    """Where a function under test stops halfway, until every racer of the round is there.

    The function takes `pg_advisory_xact_lock_shared(1)`, which the gate holds exclusively.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        """Let nobody through; this waits for the racers of the round before."""
        self._connection.execute("select pg_advisory_lock(1)")

    def open_for(self, racers: int) -> None:
        """Let everybody through once all of them wait."""
        waiting: LiteralString = """
            select from pg_locks l join pg_database d on d.oid = l.database
            where d.datname = current_database() and l.locktype = 'advisory' and not l.granted
            """
        give_up = time.monotonic() + DEADLINE_SECONDS
        try:
            while len(self._connection.execute(waiting).fetchall()) < racers:
                assert time.monotonic() < give_up, "not every racer came to the gate"
        finally:
            self._connection.execute("select pg_advisory_unlock(1)")


def race(
    connect: Connect,
    rounds: int,
    calls: Callable[[int], Sequence[Call]],
    gate: Gate | None = None,
) -> list[list[Outcome]]:
    """Start the calls of each round together, one connection each; the outcomes, per round.

    Every racer keeps its connection, so that a round costs a few round trips: only the barrier
    is between them, and no racer is ahead by more than one call.
    """
    scripts = [calls(number) for number in range(rounds)]
    (racers,) = {len(script) for script in scripts}
    connections = [connect() for _ in range(racers)]
    barrier = threading.Barrier(racers + (gate is not None), timeout=DEADLINE_SECONDS)

    def racer(place: int) -> list[Outcome]:
        outcomes = []
        for number, script in enumerate(scripts):
            # Nobody is always first.
            statement, arguments = script[(place + number) % racers]
            barrier.wait()
            outcomes.append(attempt(connections[place], statement, *arguments))
        return outcomes

    with ThreadPoolExecutor(max_workers=racers) as threads:
        running = [threads.submit(racer, place) for place in range(racers)]
        for _ in range(rounds if gate else 0):
            assert gate is not None
            gate.close()
            barrier.wait()
            gate.open_for(racers)
        by_racer = [future.result() for future in running]
    for connection in connections:
        connection.close()
    return [
        [by_racer[(index - number) % racers][number] for index in range(racers)]
        for number in range(rounds)
    ]
