"""Ledger and AsyncLedger: two runners over the operations of calls."""

import asyncio
import inspect
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

import psycopg
from psycopg.errors import InFailedSqlTransaction
from psycopg.postgres import types
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import tuple_row
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.json import JsonbLoader

from pgledger import calls
from pgledger.batching import AsyncBatcher, Batcher, Limits
from pgledger.calls import Call
from pgledger.errors import RETRYABLE, LedgerError, TransactionAbortedError, translated

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

P = ParamSpec("P")
R = TypeVar("R")


class _Operation(Generic[P, R]):
    """An operation of calls as a method: run at once by a Ledger, awaited on an AsyncLedger."""

    def __init__(self, build: Callable[P, Call[R]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, ledger: None, owner: type) -> Callable[P, Call[R]]: ...
    @overload
    def __get__(self, ledger: "Ledger", owner: type) -> Callable[P, R]: ...
    @overload
    def __get__(self, ledger: "AsyncLedger", owner: type) -> Callable[P, Awaitable[R]]: ...

    def __get__(self, ledger: "Ledger | AsyncLedger | None", owner: type) -> Callable[P, Any]:
        if ledger is None:
            return self._build

        @wraps(self._build)
        def run(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - R, or an awaitable of it
            return ledger.run(self._build(*args, **kwargs))

        return run


class _Operations:
    """What a ledger can do. The signatures and their rules are those of calls."""

    # What failed last, in words: whoever catches it may go on in a transaction that is aborted.
    _failure: str | None = None

    open_account = _Operation(calls.open_account)
    set_account_status = _Operation(calls.set_account_status)
    set_limits = _Operation(calls.set_limits)
    set_low_balance_level = _Operation(calls.set_low_balance_level)
    set_auto_top_up = _Operation(calls.set_auto_top_up)
    assign_plan = _Operation(calls.assign_plan)
    clear_plan = _Operation(calls.clear_plan)
    set_spending_cap = _Operation(calls.set_spending_cap)
    create_plan = _Operation(calls.create_plan)
    set_price = _Operation(calls.set_price)
    set_top_up_limits = _Operation(calls.set_top_up_limits)

    add_transaction = _Operation(calls.add_transaction)
    spend = _Operation(calls.spend)
    spend_usage = _Operation(calls.spend_usage)
    top_up = _Operation(calls.top_up)
    create_top_up = _Operation(calls.create_top_up)
    grant_credits = _Operation(calls.grant_credits)
    enable_transaction = _Operation(calls.enable_transaction)
    cancel_transaction = _Operation(calls.cancel_transaction)
    hold = _Operation(calls.hold)
    hold_usage = _Operation(calls.hold_usage)
    capture = _Operation(calls.capture)
    capture_usage = _Operation(calls.capture_usage)
    release = _Operation(calls.release)
    refund = _Operation(calls.refund)
    reverse_transaction = _Operation(calls.reverse_transaction)
    revoke_lot = _Operation(calls.revoke_lot)
    transfer = _Operation(calls.transfer)
    request_refund = _Operation(calls.request_refund)
    approve_refund = _Operation(calls.approve_refund)
    reject_refund = _Operation(calls.reject_refund)
    post_batch = _Operation(calls.post_batch)

    record_payment_event = _Operation(calls.record_payment_event)
    process_payment_event = _Operation(calls.process_payment_event)
    record_payment = _Operation(calls.record_payment)
    match_payment = _Operation(calls.match_payment)
    record_payment_refund = _Operation(calls.record_payment_refund)
    record_dispute = _Operation(calls.record_dispute)
    record_card_check = _Operation(calls.record_card_check)

    get_credits = _Operation(calls.get_credits)
    check_credits = _Operation(calls.check_credits)
    get_balance = _Operation(calls.get_balance)
    get_transaction = _Operation(calls.get_transaction)
    balance_at = _Operation(calls.balance_at)
    history = _Operation(calls.history)
    usage_by_reference = _Operation(calls.usage_by_reference)
    lots = _Operation(calls.lots)
    expiring = _Operation(calls.expiring)
    explain_transaction = _Operation(calls.explain_transaction)
    explain_balance = _Operation(calls.explain_balance)
    list_plans = _Operation(calls.list_plans)
    get_plan = _Operation(calls.get_plan)
    price = _Operation(calls.price)
    list_prices = _Operation(calls.list_prices)
    get_spending_cap = _Operation(calls.get_spending_cap)
    get_auto_top_up = _Operation(calls.get_auto_top_up)
    get_top_up_limits = _Operation(calls.get_top_up_limits)
    list_events = _Operation(calls.list_events)
    list_pending_top_ups = _Operation(calls.list_pending_top_ups)
    list_audit = _Operation(calls.list_audit)
    list_refund_requests = _Operation(calls.list_refund_requests)
    get_payment_event = _Operation(calls.get_payment_event)
    list_payment_events = _Operation(calls.list_payment_events)
    list_payment_returns = _Operation(calls.list_payment_returns)
    list_payments = _Operation(calls.list_payments)
    verify = _Operation(calls.verify)

    resolve_account = _Operation(calls.resolve_account)
    link_identifier = _Operation(calls.link_identifier)
    unlink_identifier = _Operation(calls.unlink_identifier)
    list_identifiers = _Operation(calls.list_identifiers)

    check_auto_top_up = _Operation(calls.check_auto_top_up)
    claim_top_ups = _Operation(calls.claim_top_ups)
    decline_top_up = _Operation(calls.decline_top_up)
    defer_top_up = _Operation(calls.defer_top_up)
    claim_events = _Operation(calls.claim_events)
    ack_events = _Operation(calls.ack_events)
    claim_refunds = _Operation(calls.claim_refunds)
    settle_refund_request = _Operation(calls.settle_refund_request)
    run_due = _Operation(calls.run_due)

    def _failed(self, error: Exception) -> None:
        """Remember what failed; say it to a call that comes after it."""
        if isinstance(error, InFailedSqlTransaction):
            raise TransactionAbortedError(self._failure) from error
        self._failure = f"{type(error).__name__}: {error}"


class Ledger(_Operations):
    """The ledger over a psycopg connection or a psycopg_pool.ConnectionPool.

    On a connection each call runs in the caller's transaction and is never committed here (unless
    the connection is in autocommit mode, where each call commits by itself). On a pool each call is
    a transaction of its own. Refusals raise :class:`~pgledger.errors.LedgerError`; other database
    errors stay psycopg's.
    """

    def __init__(self, source: "psycopg.Connection[Any] | ConnectionPool[Any]") -> None:
        """Run over ``source``, which stays the caller's to close."""
        if not (isinstance(source, psycopg.Connection) or _lends(source, awaited=False)):
            raise TypeError(
                "a Ledger takes a psycopg.Connection or a psycopg_pool.ConnectionPool, "
                f"no {type(source).__name__}"
            )
        self._source = source

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The connection under this ledger, for the caller's own SQL in the same transaction."""
        if not isinstance(self._source, psycopg.Connection):
            raise TypeError("a ledger on a pool has no connection: use transaction()")
        return self._source

    def run(self, call: Call[R]) -> R:
        """Execute one call and return its result."""
        try:
            with (
                translated(),
                self._connection() as connection,
                connection.cursor(row_factory=tuple_row) as cursor,
            ):
                _read_as_psycopg_does(cursor)
                cursor.execute(call.query, call.arguments)
                return call.result(cursor.fetchall())
        except (psycopg.Error, LedgerError) as error:
            self._failed(error)
            raise

    @contextmanager
    def transaction(self) -> Iterator["Ledger"]:
        """Commit the block whole, or roll it back whole on any exception.

        Yields a ledger on one connection; run your own SQL on its ``connection``. A block inside a
        transaction, or inside another block, is a savepoint of it.

        An interruption (Ctrl-C) or cancellation is an exception like any other; during the commit
        it leaves open which of the two it was, as a lost connection does: repeat the block by its
        keys. An error of the database that is caught inside the block is no way on, but for a
        nested block around it: the block is rolled back and raises TransactionAbortedError.
        """
        with self._connection() as connection:
            _require_a_beginning(connection, self._failure)
            with connection.transaction():
                ledger = Ledger(connection)
                yield ledger
                _require_an_end(connection, ledger._failure)

    def transact(self, work: Callable[["Ledger"], R], *, attempts: int = 3) -> R:
        """Run ``work`` in a transaction(), again when it met a serialization failure or deadlock.

        At most ``attempts`` times in all, with short pauses; then that error is raised. ``work``
        must be safe to run again: what it did in the database is rolled back, what it did elsewhere
        is not. Inside an open transaction, which cannot be run again from here, there is one
        attempt.
        """
        for attempt in range(1, self._attempts(attempts)):
            try:
                with self.transaction() as ledger:
                    return work(ledger)
            except RETRYABLE:
                time.sleep(_pause_after(attempt))
        with self.transaction() as ledger:
            return work(ledger)

    def batcher(
        self,
        *,
        max_items: int = 1000,
        max_delay: float = 0.002,
        max_queued: int = 10_000,
        connections: int = 1,
    ) -> Batcher:
        """Return a Batcher, a context manager: movements of many threads, posted in few calls.

        Its ``spend`` is that of the ledger and returns, or raises, when the movement is committed.
        It needs a pool, of which it borrows up to ``connections`` at a time, or a connection in
        autocommit mode that nobody else uses.

        A movement is sent at once when no batch is under way; what comes meanwhile is sent
        together, at most ``max_items``, when that batch is back. Only where few have come again,
        less than half of what the batch before carried, the next one waits for more, at most
        ``max_delay`` seconds. The movements of an account keep the order in which they were asked
        for; batches of different accounts may be under way at once on several ``connections``.
        Beyond ``max_queued`` waiting movements callers line up before theirs is taken in.

        A refusal is only its own caller's. A batch that lost a deadlock is sent again. Any other
        error of the database, such as a lost connection or psycopg_pool.PoolTimeout, goes to every
        caller of the batch and leaves open whether it was posted: repeat it by its key. A caller
        that gives up (a timeout, Ctrl-C) takes its movement back as long as it is not sent.
        ``close``, at the end of the block, posts what was taken in; later calls raise
        BatcherClosedError. A batcher does not survive a fork: open one in each process.
        """
        limits = Limits(max_items, max_delay, max_queued, connections)
        _require_own_transactions(self._source, connections)
        return Batcher(self, self._lent, limits)

    @contextmanager
    def _lent(self) -> Iterator["Ledger"]:
        """Yield a ledger on one connection; what it did is committed when the block is over."""
        _require_own_transactions(self._source)
        with self._connection() as connection:
            yield Ledger(connection)

    def _attempts(self, attempts: int) -> int:
        return 1 if _in_transaction(self._source) else attempts

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        if isinstance(self._source, psycopg.Connection):
            yield self._source
        else:
            with self._source.connection() as connection:
                yield connection


class AsyncLedger(_Operations):
    """The ledger over a psycopg AsyncConnection or a psycopg_pool.AsyncConnectionPool.

    As :class:`Ledger`; every operation is awaited.
    """

    def __init__(self, source: "psycopg.AsyncConnection[Any] | AsyncConnectionPool[Any]") -> None:
        """Run over ``source``, which stays the caller's to close."""
        if not (isinstance(source, psycopg.AsyncConnection) or _lends(source, awaited=True)):
            raise TypeError(
                "an AsyncLedger takes a psycopg.AsyncConnection or a "
                f"psycopg_pool.AsyncConnectionPool, no {type(source).__name__}"
            )
        self._source = source

    @property
    def connection(self) -> psycopg.AsyncConnection[Any]:
        """The connection under this ledger, for the caller's own SQL in the same transaction."""
        if not isinstance(self._source, psycopg.AsyncConnection):
            raise TypeError("a ledger on a pool has no connection: use transaction()")
        return self._source

    async def run(self, call: Call[R]) -> R:
        """Execute one call and return its result."""
        try:
            with translated():
                async with (
                    self._connection() as connection,
                    connection.cursor(row_factory=tuple_row) as cursor,
                ):
                    _read_as_psycopg_does(cursor)
                    await cursor.execute(call.query, call.arguments)
                    return call.result(await cursor.fetchall())
        except (psycopg.Error, LedgerError) as error:
            self._failed(error)
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["AsyncLedger"]:
        """Commit the block whole, or roll it back whole on any exception, cancellation included.

        As :meth:`Ledger.transaction`.
        """
        async with self._connection() as connection:
            _require_a_beginning(connection, self._failure)
            async with connection.transaction():
                ledger = AsyncLedger(connection)
                yield ledger
                _require_an_end(connection, ledger._failure)

    async def transact(
        self, work: Callable[["AsyncLedger"], Awaitable[R]], *, attempts: int = 3
    ) -> R:
        """Run ``work`` in a transaction(), again after a conflict, as :meth:`Ledger.transact`."""
        for attempt in range(1, self._attempts(attempts)):
            try:
                async with self.transaction() as ledger:
                    return await work(ledger)
            except RETRYABLE:
                await asyncio.sleep(_pause_after(attempt))
        async with self.transaction() as ledger:
            return await work(ledger)

    def batcher(
        self,
        *,
        max_items: int = 1000,
        max_delay: float = 0.002,
        max_queued: int = 10_000,
        connections: int = 1,
    ) -> AsyncBatcher:
        """Return an AsyncBatcher: movements of many tasks, posted in few calls.

        An async context manager whose ``spend`` is awaited; otherwise as :meth:`Ledger.batcher`. It
        belongs to one event loop.
        """
        limits = Limits(max_items, max_delay, max_queued, connections)
        _require_own_transactions(self._source, connections)
        return AsyncBatcher(self, self._lent, limits)

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator["AsyncLedger"]:
        """Yield a ledger on one connection; what it did is committed when the block is over."""
        _require_own_transactions(self._source)
        async with self._connection() as connection:
            yield AsyncLedger(connection)

    def _attempts(self, attempts: int) -> int:
        return 1 if _in_transaction(self._source) else attempts

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        if isinstance(self._source, psycopg.AsyncConnection):
            yield self._source
        else:
            async with self._source.connection() as connection:
                yield connection


def _lends(source: object, *, awaited: bool) -> bool:
    """Tell a pool, or what stands for one, from what is none: a URL, the other ledger's pool."""
    lend = getattr(source, "connection", None)
    return callable(lend) and inspect.isasyncgenfunction(inspect.unwrap(lend)) is awaited


def _in_transaction(source: object) -> bool:
    return (
        isinstance(source, (psycopg.Connection, psycopg.AsyncConnection))
        and source.info.transaction_status is not TransactionStatus.IDLE
    )


_READ: dict[int, type[JsonbLoader | TimestamptzLoader]] = {
    types[name].oid: loader
    for name, loader in (("jsonb", JsonbLoader), ("timestamptz", TimestamptzLoader))
}
_AS_USUAL = {oid: psycopg.adapters.get_loader(oid, Format.TEXT) for oid in _READ}


def _read_as_psycopg_does(cursor: "psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]") -> None:
    """Read objects and times as records have them: Django lets its connections read texts.

    Another parser of JSON, which an application may have chosen, stays.
    """
    adapters = cursor.connection.adapters
    for oid, loader in _READ.items():
        found = adapters.get_loader(oid, Format.TEXT)
        if found is not _AS_USUAL[oid] and not (found and issubclass(found, JsonbLoader)):
            cursor.adapters.register_loader(oid, loader)


def _pause_after(attempt: int) -> float:
    """Return seconds, at random: whoever is run again at once meets the same other one again."""
    return random.uniform(0, min(0.01 * 2**attempt, 1))  # noqa: S311 - no secret


def _require_a_beginning(connection: psycopg.BaseConnection[Any], failure: str | None) -> None:
    """Refuse a block inside a transaction that takes nothing more."""
    if connection.info.transaction_status is TransactionStatus.INERROR:
        raise TransactionAbortedError(failure)


def _require_an_end(connection: psycopg.BaseConnection[Any], failure: str | None) -> None:
    """Refuse to end a block well whose COMMIT would commit nothing, which psycopg does not tell."""
    match connection.info.transaction_status:
        case TransactionStatus.INERROR:
            raise TransactionAbortedError(failure)
        case TransactionStatus.UNKNOWN:
            raise psycopg.OperationalError(
                "the connection was lost inside the transaction, which is rolled back: "
                "the error that told of it was caught"
            )
        case TransactionStatus.IDLE:
            raise psycopg.ProgrammingError(
                "the transaction was ended inside its block, by a commit or rollback of its own"
            )


def _require_own_transactions(source: object, connections: int = 1) -> None:
    """Refuse what would not commit each call by itself, or cannot be several connections."""
    if not isinstance(source, (psycopg.Connection, psycopg.AsyncConnection)):
        return
    if connections > 1:
        raise ValueError("several connections need a pool")
    status = source.info.transaction_status
    if not source.autocommit or status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
        raise psycopg.ProgrammingError(
            "a batcher needs a pool, or a connection in autocommit mode outside a transaction: "
            "what it answers is committed"
        )
