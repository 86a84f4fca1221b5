"""The batcher of asyncio: tasks await their own result, a few tasks send."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pgledger.batching.queue import Batch, Entry, Limits, Queue, together
from pgledger.batching.requests import Request, Requests
from pgledger.calls import Call
from pgledger.errors import BatcherClosedError
from pgledger.records import Posting

if TYPE_CHECKING:
    from pgledger.client import AsyncLedger


class AsyncBatcher(Requests):
    """Posts what many tasks ask for in few calls, and tells each task its own result.

    Made by :meth:`AsyncLedger.batcher`, which tells the rules; an async context manager. It belongs
    to the event loop that opened it. What sends runs in the context (contextvars) of whoever
    opened it, not in that of a caller.
    """

    def __init__(
        self,
        ledger: "AsyncLedger",
        lend: Callable[[], AbstractAsyncContextManager["AsyncLedger"]],
        limits: Limits,
    ) -> None:
        """Prepare to send over what ``lend`` lends; ``open`` begins."""
        self._ledger = ledger
        self._lend = lend
        self._limits = limits
        self._queue = Queue(limits)
        self._arrived = asyncio.Event()
        self._settled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin; a batcher is opened once."""
        self._queue.require_open()
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._tasks = [
                self._loop.create_task(self._work(), name=f"pgledger-batcher-{number}")
                for number in range(self._limits.connections)
            ]

    async def flush(self) -> None:
        """Send what waits without delay; return when all that was asked before is settled."""
        self._require_loop()
        self._queue.require_open()
        wanted = set(self._queue.unsettled)
        self._queue.flushing += 1
        self._arrived.set()
        try:
            while not wanted.isdisjoint(self._queue.unsettled):
                self._settled.clear()
                await self._settled.wait()
        finally:
            self._queue.flushing -= 1

    async def close(self) -> None:
        """Take in nothing more, post what was taken in, and return when everybody was told.

        Cancelled, it stops what is under way: those who wait are told.
        """
        working = [task for task in self._tasks if not task.done()]
        if working:
            self._require_loop()
        self._queue.closing = True
        self._arrived.set()
        if not working:
            return
        try:
            await asyncio.wait(working)
        except asyncio.CancelledError:
            for task in working:
                task.cancel()
            await asyncio.wait(working)
            raise

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def run(self, request: Request) -> Posting:
        """Hand a movement in, and wait for its result."""
        self._require_loop()
        if isinstance(request, Call):
            return await self._ledger.run(request)
        promise: asyncio.Future[Posting] = asyncio.get_running_loop().create_future()
        entry = Entry(request, promise)
        self._queue.put(entry)
        self._arrived.set()
        try:
            return await promise
        except BaseException:
            self._queue.withdraw(entry)
            self._arrived.set()
            if promise.done() and not promise.cancelled():
                promise.exception()  # it was told of an error and cancelled at once
            raise

    def _require_loop(self) -> None:
        if self._loop is None:
            raise BatcherClosedError("the batcher is not open: use it as a context manager")
        if self._loop is not asyncio.get_running_loop():
            raise BatcherClosedError("the batcher belongs to another event loop: open one in each")

    # The tasks that send

    async def _work(self) -> None:
        try:
            while (batch := await self._next()) is not None:
                await self._deliver(batch)
        except BaseException as error:
            self._queue.break_down(error)
            self._arrived.set()
            self._settled.set()
            raise

    async def _next(self) -> Batch | None:
        while not self._queue.is_ready:
            if self._queue.is_over:
                return None
            await self._arrival()
        if self._limits.max_delay and not self._queue.is_worth_it:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.max_delay):
                    while not self._queue.is_worth_it:
                        await self._arrival()
        return self._queue.take()

    async def _arrival(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()

    async def _deliver(self, batch: Batch) -> None:
        try:
            while not batch.is_settled:
                await self._send_part(batch)
        except BaseException as error:
            batch.lost(error)
            raise
        finally:
            self._queue.settle(batch)
            self._arrived.set()
            self._settled.set()

    async def _send_part(self, batch: Batch) -> None:
        postings: list[Posting] = []
        answered = False
        try:
            async with self._lend() as ledger:
                movements = batch.send()
                # Several may be sent again in parts, so they must not commit before they are read.
                several = len(movements) > 1
                async with ledger.transaction() if several else nullcontext(ledger) as tx:
                    if movements:
                        postings = await tx.run(together(movements))
                    answered = True
        except Exception as error:  # noqa: BLE001 - it is the callers' to handle
            batch.failed(error, answered=answered)
        else:
            batch.posted(postings)
