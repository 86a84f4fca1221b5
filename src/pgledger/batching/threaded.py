"""The batcher of threads: callers block on their own result, a few daemon threads send."""

import os
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from threading import Condition, Lock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pgledger.batching.queue import Batch, Entry, Limits, Queue, together
from pgledger.batching.requests import Request, Requests
from pgledger.calls import Call
from pgledger.errors import BatcherClosedError
from pgledger.records import Posting

if TYPE_CHECKING:
    from pgledger.client import Ledger


class Batcher(Requests):
    """Posts what many threads ask for in few calls, and tells each thread its own result.

    Made by :meth:`Ledger.batcher`, which tells the rules; a context manager. The threads that send
    are daemons, so a program that forgot to close its batcher ends nevertheless. Nobody is left
    waiting by that: Python joins the threads that wait for a result before it stops daemons.
    """

    def __init__(
        self,
        ledger: "Ledger",
        lend: Callable[[], AbstractContextManager["Ledger"]],
        limits: Limits,
    ) -> None:
        """Prepare to send over what ``lend`` lends; ``open`` begins."""
        self._ledger = ledger
        self._lend = lend
        self._limits = limits
        self._queue = Queue(limits)
        lock = Lock()
        self._arrived = Condition(lock)
        self._settled = Condition(lock)
        self._process: int | None = None
        self._threads = [
            Thread(target=self._work, name=f"pgledger-batcher-{number}", daemon=True)
            for number in range(limits.connections)
        ]

    def open(self) -> None:
        """Begin; a batcher is opened once. Not before a fork: its threads stay behind."""
        with self._arrived:
            self._queue.require_open()
            if self._process is not None:
                return
            self._process = os.getpid()
        for thread in self._threads:
            thread.start()

    def flush(self) -> None:
        """Send what waits without delay; return when all that was asked before is settled."""
        self._require_process()
        with self._arrived:
            self._queue.require_open()
            wanted = set(self._queue.unsettled)
            self._queue.flushing += 1
            self._arrived.notify_all()
            try:
                self._settled.wait_for(lambda: wanted.isdisjoint(self._queue.unsettled))
            finally:
                self._queue.flushing -= 1

    def close(self) -> None:
        """Take in nothing more, post what was taken in, and return when everybody was told."""
        if self._process not in {None, os.getpid()}:
            return  # after a fork: the lock may be held by a thread that is not there
        with self._arrived:
            self._queue.closing = True
            self._arrived.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, request: Request) -> Posting:
        """Hand a movement in, and wait for its result."""
        self._require_process()
        if isinstance(request, Call):
            return self._ledger.run(request)
        promise: Future[Posting] = Future()
        entry = Entry(request, promise)
        try:
            with self._arrived:
                self._queue.put(entry)
                self._arrived.notify_all()
            return promise.result()
        except BaseException:
            with self._arrived:
                self._queue.withdraw(entry)
                self._arrived.notify_all()
            raise

    def _require_process(self) -> None:
        if self._process is None:
            raise BatcherClosedError("the batcher is not open: use it as a context manager")
        if self._process != os.getpid():
            raise BatcherClosedError(
                "the batcher was opened before a fork: open one in each process"
            )

    # The threads that send

    def _work(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._deliver(batch)
        except BaseException as error:
            with self._arrived:
                self._queue.break_down(error)
                self._arrived.notify_all()
                self._settled.notify_all()
            raise

    def _next(self) -> Batch | None:
        with self._arrived:
            while not self._queue.is_ready:
                if self._queue.is_over:
                    return None
                self._arrived.wait()
            self._arrived.wait_for(lambda: self._queue.is_worth_it, timeout=self._limits.max_delay)
            return self._queue.take()

    def _deliver(self, batch: Batch) -> None:
        try:
            while not batch.is_settled:
                self._send_part(batch)
        except BaseException as error:
            batch.lost(error)
            raise
        finally:
            with self._arrived:
                self._queue.settle(batch)
                self._arrived.notify_all()
                self._settled.notify_all()

    def _send_part(self, batch: Batch) -> None:
        postings: list[Posting] = []
        answered = False
        try:
            with self._lend() as ledger:
                with self._arrived:
                    movements = batch.send()
                # Several may be sent again in parts, so they must not commit before they are read.
                with ledger.transaction() if len(movements) > 1 else nullcontext(ledger) as tx:
                    if movements:
                        postings = tx.run(together(movements))
                    answered = True
        except Exception as error:  # noqa: BLE001 - it is the callers' to handle
            batch.failed(error, answered=answered)
        else:
            batch.posted(postings)
