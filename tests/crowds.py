"""Many callers of one batcher, as threads or as tasks, for tests that do not care which.

What a caller asks for is started here and answered by a future, so a test can step through what
happens while others wait. Nothing sleeps and hopes: what a test waits for is looked at again.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pgledger import AsyncBatcher, AsyncLedger, Batcher, Ledger, Posting
from tests.sessions import DEADLINE_SECONDS, POLL_SECONDS
from tests.sessions import Connection as Rows

LOCK = "select from pgledger.balances where account_id = any(%s) for update"
WAITING = (
    "select pid from pg_stat_activity"
    " where datname = current_database() and wait_event_type = 'Lock'"
)


class Crowd(Protocol):
    """Callers of one batcher."""

    @property
    def batcher(self) -> Batcher | AsyncBatcher:
        """What they call."""
        ...

    def ask(self, verb: str, *args: object, **kwargs: object) -> "Future[Any]":
        """Start one more caller."""
        ...

    def lend(self) -> "Future[Callable[[], None]]":
        """Take a connection from the pool, and return how to give it back."""
        ...

    def leave(self) -> None:
        """Close the batcher and the pool."""
        ...


Gather = Callable[..., Crowd]


class Threads:
    """Callers that are threads, over a pool."""

    batcher: Batcher

    def __init__(self, url: str, pool: dict[str, Any], **options: Any) -> None:  # noqa: ANN401
        self.pool = ConnectionPool(url, open=True, **{"min_size": 1, **pool})
        self.batcher = Ledger(self.pool).batcher(**options)
        self.batcher.open()
        self._threads = ThreadPoolExecutor(300)

    def ask(self, verb: str, *args: object, **kwargs: object) -> "Future[Any]":
        return self._threads.submit(getattr(self.batcher, verb), *args, **kwargs)

    def lend(self) -> "Future[Callable[[], None]]":
        def lend() -> Callable[[], None]:
            connection = self.pool.getconn()
            return lambda: self.pool.putconn(connection)

        return self._threads.submit(lend)

    def leave(self) -> None:
        self.batcher.close()
        self.pool.close()
        self._threads.shutdown()


class Tasks:
    """Callers that are tasks of one event loop, in a thread of its own, over a pool."""

    batcher: AsyncBatcher

    def __init__(self, url: str, pool: dict[str, Any], **options: Any) -> None:  # noqa: ANN401
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

        async def enter() -> None:
            self.pool = AsyncConnectionPool(url, open=False, **{"min_size": 1, **pool})
            await self.pool.open()
            self.batcher = AsyncLedger(self.pool).batcher(**options)
            await self.batcher.open()

        self.do(enter).result(DEADLINE_SECONDS)

    def do(self, work: Callable[[], Any]) -> "Future[Any]":
        async def do() -> Any:  # noqa: ANN401 - whatever it returns
            return await work()

        return asyncio.run_coroutine_threadsafe(do(), self._loop)

    def ask(self, verb: str, *args: object, **kwargs: object) -> "Future[Any]":
        return self.do(lambda: getattr(self.batcher, verb)(*args, **kwargs))

    def lend(self) -> "Future[Callable[[], None]]":
        async def lend() -> Callable[[], None]:
            connection = await self.pool.getconn()
            return lambda: self.do(lambda: self.pool.putconn(connection)).result()

        return self.do(lend)

    def leave(self) -> None:
        async def leave() -> None:
            await self.batcher.close()
            await self.pool.close()

        self.do(leave).result(DEADLINE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def until(condition: Callable[[], object]) -> None:
    """Look again and again, letting others run in between."""
    give_up = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "what the test waits for did not come about"
        time.sleep(POLL_SECONDS)


@contextmanager
def held(connection: Rows, *accounts: str) -> Iterator[None]:
    """Keep the balance rows of some accounts locked, so that whoever posts to them waits."""
    with connection.transaction():
        connection.execute(LOCK, [list(accounts)])
        yield


def wait_for_lock(watcher: Rows, count: int = 1) -> list[int]:
    """Return the backends that wait for a lock, once there are so many."""
    found: list[int] = []

    def waiting() -> bool:
        found[:] = [row["pid"] for row in watcher.execute(WAITING).fetchall()]
        return len(found) == count

    until(waiting)
    return found


def ask_in_order(crowd: Crowd, asks: Sequence[tuple[str, int, str]]) -> "list[Future[Posting]]":
    """Ask for spends one after the other, each once the one before waits to be sent."""
    asked = []
    for account, amount, key in asks:
        before = crowd.batcher.queued + crowd.batcher.in_line
        asked.append(crowd.ask("spend", account, amount, key=key))
        until(lambda: crowd.batcher.queued + crowd.batcher.in_line > before)  # noqa: B023
    return asked


def keys(db: Rows, account: str = "u") -> list[str]:
    """Return the keys of an account's spends, in the order in which they were posted."""
    rows = db.execute(
        "select key from pgledger.transactions where account_id = %s and amount < 0 order by seq",
        [account],
    )
    return [row["key"] for row in rows]


def answers(asked: "Sequence[Future[Posting]]") -> list[Posting]:
    return [future.result(DEADLINE_SECONDS) for future in asked]


def errors(asked: "Sequence[Future[Posting]]") -> list[BaseException]:
    """Return the error of each caller; nobody is left without one."""
    found = [future.exception(DEADLINE_SECONDS) for future in asked]
    assert None not in found
    return [error for error in found if error is not None]


class FailsAfterCommit(Connection[Any]):
    """A connection that cannot be given back: what it did is committed by then."""

    def commit(self) -> None:
        super().commit()
        raise ValueError("after commit")


class AsyncFailsAfterCommit(AsyncConnection[Any]):
    """As FailsAfterCommit."""

    async def commit(self) -> None:
        await super().commit()
        raise ValueError("after commit")


class LosesTheAnswer(Connection[Any]):
    """A connection that breaks right after the server has committed, once."""

    lost = 0

    def commit(self) -> None:
        super().commit()
        if not type(self).lost:
            type(self).lost += 1
            self.close()
            super().commit()


class AsyncLosesTheAnswer(AsyncConnection[Any]):
    """As LosesTheAnswer."""

    lost = 0

    async def commit(self) -> None:
        await super().commit()
        if not type(self).lost:
            type(self).lost += 1
            await self.close()
            await super().commit()
