"""A block commits whole or is rolled back whole, whatever ends it, and leaves its pool fit for use.

What is interrupted is interrupted for real: a task is cancelled at each of its waits in turn, a
process is sent SIGINT, a connection is closed by the server.
"""

import asyncio
import copy
import gc
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg import errors as database_errors
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

import pgledger
from pgledger import AsyncLedger, Ledger, TransactionAbortedError
from tests.cli_tools import ENVIRONMENT, line
from tests.conftest import Connect
from tests.sessions import DEADLINE_SECONDS, POLL_SECONDS

Db = psycopg.Connection[DictRow]
SIZE = 2


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool]:
    with ConnectionPool(
        database_url, min_size=SIZE, max_size=SIZE, timeout=DEADLINE_SECONDS, open=True
    ) as opened:
        yield opened


@asynccontextmanager
async def async_pool(database_url: str) -> AsyncIterator[AsyncConnectionPool]:
    async with AsyncConnectionPool(
        database_url, min_size=SIZE, max_size=SIZE, timeout=DEADLINE_SECONDS, open=False
    ) as opened:
        yield opened


@pytest.fixture
def orders(db: Db) -> Db:
    """A table of the application, which belongs into the same transactions; 100 credits for u."""
    db.execute("create table orders (id text primary key)")
    Ledger(db).top_up("u", 100)
    return db


def fit(pool: ConnectionPool) -> None:
    """Require that the pool lends all its connections, each of them outside a transaction."""
    lent = [pool.getconn() for _ in range(SIZE)]
    try:
        assert {one.info.transaction_status for one in lent} == {TransactionStatus.IDLE}
        for one in lent:
            assert one.execute("select 1").fetchone() == (1,)
            one.rollback()
    finally:
        for one in lent:
            pool.putconn(one)


async def async_fit(pool: AsyncConnectionPool) -> None:
    lent = [await pool.getconn() for _ in range(SIZE)]
    try:
        assert {one.info.transaction_status for one in lent} == {TransactionStatus.IDLE}
        for one in lent:
            assert await (await one.execute("select 1")).fetchone() == (1,)
            await one.rollback()
    finally:
        for one in lent:
            await pool.putconn(one)


def order(tx: Ledger, number: int = 1) -> None:
    """Spend 30 credits for an order, and write that down."""
    tx.spend("u", 30, key=f"order-{number}")
    tx.connection.execute("insert into orders values (%s)", [f"order-{number}"])


async def async_order(tx: AsyncLedger, number: int = 1) -> None:
    await tx.spend("u", 30, key=f"order-{number}")
    await tx.connection.execute("insert into orders values (%s)", [f"order-{number}"])


def ordered(db: Db) -> int:
    """How many orders there are: as many in the ledger as in the table."""
    orders = {row["id"] for row in db.execute("select id from orders")}
    spends = {
        row["key"]
        for row in db.execute("select key from pgledger.transactions where type = 'USAGE'")
    }
    assert orders == spends
    assert Ledger(db).get_credits("u") == 100 - 30 * len(orders)
    return len(orders)


def until_nobody_is_in_a_transaction(db: Db) -> None:
    """Wait for the server to end whatever lost its client."""
    until(
        db,
        "pid = pg_backend_pid() and not exists (select from pg_stat_activity other"
        " where other.datname = current_database() and other.pid <> pg_backend_pid()"
        " and other.backend_type = 'client backend' and other.xact_start is not null)",
    )


def until(db: Db, condition: str) -> None:
    """Wait for the server to say so."""
    give_up = time.monotonic() + DEADLINE_SECONDS
    while not db.execute(f"select from pg_stat_activity where {condition}".encode()).fetchall():
        assert time.monotonic() < give_up, condition
        time.sleep(POLL_SECONDS)


WAITING = "datname = current_database() and wait_event_type = 'Lock'"


def slow_commit(db: Db) -> None:
    """Let the commit of an order wait for the lock 7."""
    db.execute(
        """
        create function public.wait() returns trigger language plpgsql as $$
        begin
          perform pg_advisory_xact_lock(7);
          return null;
        end $$;
        create constraint trigger wait after insert on orders deferrable initially deferred
          for each row execute function public.wait()
        """
    )


def failing_commit(db: Db, sqlstate: str, times: int) -> None:
    """Let the commit of an order fail so often."""
    db.execute(
        f"""
        create sequence public.attempts;
        create function public.fail() returns trigger language plpgsql as $$
        begin
          if nextval('public.attempts') <= {times} then
            raise exception using errcode = '{sqlstate}';
          end if;
          return null;
        end $$;
        create constraint trigger fail after insert on orders deferrable initially deferred
          for each row execute function public.fail()
        """.encode()
    )


# Interrupted


class CancelledAt:
    """Await something, and be cancelled as it waits for the nth time, or at several of these."""

    def __init__(self, work: Awaitable[object], at: set[int]) -> None:
        self._work = work
        self._at = at
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, object]:
        steps = self._work.__await__()
        step: Callable[[Any], Any] = steps.send
        given: Any = None
        while True:
            try:
                waits_for = step(given)
            except StopIteration as done:
                return done.value
            self.waits += 1
            if self.waits in self._at:
                task = asyncio.current_task()
                assert task
                task.cancel()
            try:
                given = yield waits_for
                step = steps.send
            except BaseException as error:  # noqa: BLE001 - into the work with it
                given = error
                step = steps.throw


async def cancelled_at(work: Awaitable[object], at: set[int]) -> tuple[bool, int]:
    """Tell whether it was cancelled, and how often it waited."""
    awaited = CancelledAt(work, at)

    async def run() -> None:
        await awaited

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return task.cancelled(), awaited.waits


@pytest.mark.parametrize("again_after", [0, 1, 2, 3])
@pytest.mark.parametrize("over", ["pool", "connection"])
def test_a_block_is_cancelled_whole_at_each_of_its_waits(
    orders: Db, database_url: str, over: str, again_after: int
) -> None:
    async def work(ledger: AsyncLedger, number: int) -> None:
        async with ledger.transaction() as tx:
            await async_order(tx, number)
            async with tx.transaction() as nested:
                await nested.spend("u", 1, key=f"more-{number}")
                await nested.reverse_transaction("u", f"more-{number}")

    async def story(pool: AsyncConnectionPool, at: int) -> tuple[bool, int]:
        moments = {at, at + again_after}
        if over == "pool":
            cancelled = await cancelled_at(work(AsyncLedger(pool), at), moments)
            await async_fit(pool)
            return cancelled
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            cancelled = await cancelled_at(work(AsyncLedger(connection), at), moments)
            # Cancelled once more while it was rolled back, it is closed.
            closed = connection.info.transaction_status is TransactionStatus.UNKNOWN
            assert again_after if closed else True
            if not closed:
                assert connection.info.transaction_status is TransactionStatus.IDLE
        return cancelled

    async def all_of_them() -> None:
        whole = 0
        async with async_pool(database_url) as pool:
            for at in count(1):
                was_cancelled, waits = await story(pool, at)
                until_nobody_is_in_a_transaction(orders)
                done = orders.execute("delete from orders returning id").fetchall() != []
                spent = orders.execute(
                    "select from pgledger.transactions where key in (%s, %s)",
                    [f"order-{at}", f"more-{at}"],
                ).fetchall()
                assert len(spent) == (2 if done else 0)
                orders.execute("select pgledger.top_up('u', 30)")
                whole += done
                if not was_cancelled:
                    assert (done, waits < at) == (True, True)
                    break
        # Begin, two calls, a savepoint, two calls, its end, and the commit: only then it is whole.
        assert at > 6
        assert whole <= 2
        assert Ledger(orders).verify() == []

    asyncio.run(all_of_them())


CHILD = """
import asyncio, sys
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from pgledger import AsyncLedger, Ledger

url, moment = sys.argv[1:]

def synchronous():
    with ConnectionPool(url, min_size=1, max_size=1, timeout=20) as pool:
        ledger = Ledger(pool)
        try:
            with ledger.transaction() as tx:
                tx.spend("u", 30, key="order-1")
                tx.connection.execute("insert into orders values ('order-1')")
                print("begun", flush=True)
                if moment == "a statement":
                    tx.connection.execute("select pg_advisory_xact_lock(7)")
                if moment == "a nested block":
                    with tx.transaction() as nested:
                        nested.connection.execute("select pg_advisory_xact_lock(7)")
                if moment == "Python":
                    sys.stdin.readline()
        except KeyboardInterrupt:
            with pool.connection() as connection:
                status = connection.info.transaction_status.name
            print(status, ledger.top_up("v", 5).balance, flush=True)

async def asynchronous():
    async with AsyncConnectionPool(url, min_size=1, max_size=1, timeout=20, open=False) as pool:
        ledger = AsyncLedger(pool)
        try:
            async with ledger.transaction() as tx:
                await tx.spend("u", 30, key="order-1")
                await tx.connection.execute("insert into orders values ('order-1')")
                print("begun", flush=True)
                if moment == "a statement":
                    await tx.connection.execute("select pg_advisory_xact_lock(7)")
                if moment == "a nested block":
                    async with tx.transaction() as nested:
                        await nested.connection.execute("select pg_advisory_xact_lock(7)")
                if moment == "Python":
                    await asyncio.Event().wait()
        except asyncio.CancelledError:
            async with pool.connection() as connection:
                status = connection.info.transaction_status.name
            print(status, (await ledger.top_up("v", 5)).balance, flush=True)

"""


@pytest.mark.parametrize("moment", ["a statement", "a nested block", "Python", "the commit"])
@pytest.mark.parametrize("how", ["synchronous()", "asyncio.run(asynchronous())"])
def test_ctrl_c_rolls_the_block_back_and_the_program_goes_on(
    orders: Db, database_url: str, how: str, moment: str
) -> None:
    slow_commit(orders)
    orders.execute("select pg_advisory_lock(7)")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD + how, database_url, moment],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert line(child.stdout) == "begun\n"
            if moment != "Python":
                until(orders, WAITING)
            child.send_signal(signal.SIGINT)
            assert line(child.stdout) == "IDLE 5\n"
            until_nobody_is_in_a_transaction(orders)
            child.communicate()
            assert child.returncode == 0
        finally:
            child.kill()
    assert ordered(orders) == 0


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_is_raised_rolls_an_async_block_back(
    orders: Db, database_url: str, interruption: type[BaseException]
) -> None:
    async def work(ledger: AsyncLedger) -> None:
        async with ledger.transaction() as tx:
            await async_order(tx)
            raise interruption

    async def story() -> None:
        async with async_pool(database_url) as pool:
            with pytest.raises(interruption):
                await work(AsyncLedger(pool))
            await async_fit(pool)

    asyncio.run(story())
    assert ordered(orders) == 0


def test_a_generator_that_is_given_up_rolls_its_block_back(
    orders: Db, pool: ConnectionPool, database_url: str
) -> None:
    def tokens() -> Iterator[str]:
        with Ledger(pool).transaction() as tx:
            order(tx)
            yield "token"

    for give_up in (lambda stream: stream.close(), lambda _: None):
        stream = tokens()
        assert next(stream) == "token"
        give_up(stream)
        del stream
        gc.collect()
        fit(pool)
        assert ordered(orders) == 0

    async def async_tokens(ledger: AsyncLedger) -> AsyncIterator[str]:
        async with ledger.transaction() as tx:
            await async_order(tx)
            yield "token"

    async def story() -> None:
        async with async_pool(database_url) as own:
            stream = async_tokens(AsyncLedger(own))
            assert await anext(stream) == "token"
            await stream.aclose()  # type: ignore[attr-defined]
            await async_fit(own)

    asyncio.run(story())
    assert ordered(orders) == 0


# An error that is caught inside the block


CAUGHT = "InsufficientCreditsError: insufficient credits "


def test_an_error_caught_inside_a_block_rolls_it_back_and_says_so(
    orders: Db, pool: ConnectionPool
) -> None:
    def swallow() -> None:
        with Ledger(pool).transaction() as tx:
            order(tx)
            with suppress(pgledger.InsufficientCreditsError):
                tx.spend("u", 1000)

    with pytest.raises(TransactionAbortedError) as caught:
        swallow()
    assert caught.value.failure
    assert caught.value.failure.startswith(CAUGHT)
    assert caught.value.failure in str(caught.value)
    assert "nested transaction()" in str(caught.value)
    assert isinstance(caught.value, database_errors.InFailedSqlTransaction)
    assert caught.value.sqlstate == "25P02"
    assert ordered(orders) == 0
    fit(pool)


def test_what_is_called_after_a_caught_error_says_so_too(orders: Db, pool: ConnectionPool) -> None:
    def swallow(more: Callable[[Ledger], object]) -> None:
        with Ledger(pool).transaction() as tx:
            with suppress(pgledger.LedgerError):
                tx.spend("u", 1000)
            more(tx)

    def nest(tx: Ledger) -> None:
        with tx.transaction() as nested:
            order(nested)

    for more in (order, nest, lambda tx: tx.get_credits("u")):
        with pytest.raises(TransactionAbortedError) as caught:
            swallow(more)
        assert caught.value.failure
        assert caught.value.failure.startswith(CAUGHT)
    assert ordered(orders) == 0
    fit(pool)


def test_who_catches_refusals_does_not_catch_that_the_block_is_rolled_back() -> None:
    assert not issubclass(TransactionAbortedError, pgledger.LedgerError)
    error = TransactionAbortedError("what")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert (type(again), str(again), again.failure) == (type(error), str(error), "what")


def test_the_applications_own_error_caught_inside_rolls_the_block_back(
    orders: Db, pool: ConnectionPool
) -> None:
    def swallow() -> None:
        with Ledger(pool).transaction() as tx:
            order(tx)
            with suppress(psycopg.errors.UniqueViolation):
                tx.connection.execute("insert into orders values ('order-1')")

    with pytest.raises(TransactionAbortedError, match="not one of the ledger") as caught:
        swallow()
    assert caught.value.failure is None
    assert ordered(orders) == 0
    fit(pool)


def test_an_error_caught_inside_an_async_block_rolls_it_back(orders: Db, database_url: str) -> None:
    async def nest(tx: AsyncLedger) -> None:
        async with tx.transaction() as nested:
            await async_order(nested, 2)

    async def swallow(ledger: AsyncLedger, more: Callable[[AsyncLedger], Awaitable[None]]) -> None:
        async with ledger.transaction() as tx:
            await async_order(tx)
            with suppress(pgledger.LedgerError):
                await tx.spend("u", 1000)
            await more(tx)

    async def nothing(_: AsyncLedger) -> None:
        pass

    async def story() -> None:
        async with async_pool(database_url) as pool:
            for more in (nothing, async_order, nest):
                with pytest.raises(TransactionAbortedError) as caught:
                    await swallow(AsyncLedger(pool), more)
                assert caught.value.failure
                assert caught.value.failure.startswith(CAUGHT)
                await async_fit(pool)

    asyncio.run(story())
    assert ordered(orders) == 0


def test_an_error_caught_around_a_nested_block_undoes_that_block_alone(
    orders: Db, pool: ConnectionPool
) -> None:
    with Ledger(pool).transaction() as tx:
        order(tx, 1)
        with suppress(pgledger.InsufficientCreditsError), tx.transaction() as nested:
            order(nested, 2)
            nested.spend("u", 1000)
        order(tx, 3)
    assert ordered(orders) == 2
    fit(pool)


def test_an_error_caught_inside_a_nested_block_undoes_that_block_and_says_so(
    orders: Db, pool: ConnectionPool
) -> None:
    def swallow(tx: Ledger) -> None:
        with tx.transaction() as nested:
            order(nested, 2)
            with suppress(pgledger.LedgerError):
                nested.spend("u", 1000)

    with Ledger(pool).transaction() as tx:
        order(tx, 1)
        with pytest.raises(TransactionAbortedError, match=CAUGHT):
            swallow(tx)
        order(tx, 3)
    assert ordered(orders) == 2


def test_a_refusal_asked_for_as_a_row_ends_nothing(orders: Db, pool: ConnectionPool) -> None:
    with Ledger(pool).transaction() as tx:
        order(tx)
        assert tx.spend("u", 1000, raise_refusals=False).status == "REFUSED"
    assert ordered(orders) == 1


def test_a_connection_of_the_callers_stays_the_callers_to_roll_back(
    orders: Db, connect: Connect
) -> None:
    mine = connect(autocommit=False)
    ledger = Ledger(mine)
    order(ledger)
    with pytest.raises(pgledger.InsufficientCreditsError):
        ledger.spend("u", 1000)
    with pytest.raises(TransactionAbortedError, match=CAUGHT):
        ledger.get_credits("u")
    with pytest.raises(TransactionAbortedError, match=CAUGHT), ledger.transaction():
        pytest.fail("a block was begun in a transaction that takes nothing more")
    mine.rollback()
    with ledger.transaction() as tx:
        order(tx)
    assert mine.info.transaction_status is TransactionStatus.IDLE
    assert ordered(orders) == 1


@pytest.mark.parametrize("statement", ["commit", "rollback"])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_block_that_is_ended_from_inside_says_so(
    orders: Db,
    pool: ConnectionPool,
    database_url: str,
    statement: str,
    is_async: bool,  # noqa: FBT001
) -> None:
    def synchronous() -> None:
        with Ledger(pool).transaction() as tx:
            order(tx)
            tx.connection.execute(statement.encode())

    async def asynchronous() -> None:
        async with async_pool(database_url) as own, AsyncLedger(own).transaction() as tx:
            await async_order(tx)
            await tx.connection.execute(statement.encode())

    with pytest.raises(psycopg.ProgrammingError, match="ended inside its block"):
        asyncio.run(asynchronous()) if is_async else synchronous()
    fit(pool)
    assert ordered(orders) == (statement == "commit")


# A connection that is lost


def lose(tx: Ledger, db: Db) -> None:
    """Let the server end the session of a block."""
    pid = tx.connection.info.backend_pid
    db.execute("select pg_terminate_backend(%s, 30000)", [pid])


@pytest.mark.parametrize("catches", [False, True])
def test_a_block_whose_connection_is_lost_is_rolled_back_and_raises(
    orders: Db,
    pool: ConnectionPool,
    catches: bool,  # noqa: FBT001
) -> None:
    def work() -> None:
        with Ledger(pool).transaction() as tx:
            order(tx)
            lose(tx, orders)
            with suppress(psycopg.OperationalError if catches else ZeroDivisionError):
                tx.spend("u", 1)

    with pytest.raises(psycopg.OperationalError, match="lost inside" if catches else None):
        work()
    assert ordered(orders) == 0
    fit(pool)


def test_an_async_block_whose_connection_is_lost_is_rolled_back_and_raises(
    orders: Db, database_url: str
) -> None:
    async def work(ledger: AsyncLedger) -> None:
        async with ledger.transaction() as tx:
            await async_order(tx)
            await tx.connection.close()

    async def story() -> None:
        async with async_pool(database_url) as pool:
            with pytest.raises(psycopg.OperationalError, match="lost inside"):
                await work(AsyncLedger(pool))
            await async_fit(pool)

    asyncio.run(story())
    assert ordered(orders) == 0


def test_a_connection_that_is_lost_before_the_commit_is_told(
    orders: Db, pool: ConnectionPool
) -> None:
    def work() -> None:
        with Ledger(pool).transaction() as tx:
            order(tx)
            lose(tx, orders)

    with pytest.raises(psycopg.OperationalError):
        work()
    assert ordered(orders) == 0
    fit(pool)


def test_a_connection_that_is_lost_in_the_commit_leaves_the_rest_to_the_keys(
    orders: Db, pool: ConnectionPool
) -> None:
    slow_commit(orders)
    orders.execute("select pg_advisory_lock(7)")

    def server_ends_it() -> None:
        until(orders, WAITING)
        orders.execute(
            f"select pg_terminate_backend(pid, 30000) from pg_stat_activity where {WAITING}"
        )
        orders.execute("select pg_advisory_unlock(7)")

    ender = threading.Thread(target=server_ends_it)
    ender.start()
    with pytest.raises(psycopg.OperationalError), Ledger(pool).transaction() as tx:
        order(tx)
    ender.join()
    fit(pool)
    assert ordered(orders) == 0
    with Ledger(pool).transaction() as tx:
        order(tx)
    assert ordered(orders) == 1


# Run again


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_block_whose_commit_met_a_conflict_is_run_again(
    orders: Db, pool: ConnectionPool, database_url: str, sqlstate: str
) -> None:
    failing_commit(orders, sqlstate, 2)
    Ledger(pool).transact(order)
    assert ordered(orders) == 1
    fit(pool)

    async def story() -> None:
        async with async_pool(database_url) as own:
            await AsyncLedger(own).transact(lambda tx: async_order(tx, 2))
            await async_fit(own)

    orders.execute("alter sequence public.attempts restart")
    asyncio.run(story())
    assert ordered(orders) == 2


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_commit_that_always_meets_a_conflict_is_given_up_in_the_end(
    orders: Db, pool: ConnectionPool, sqlstate: str
) -> None:
    failing_commit(orders, sqlstate, 1000)
    with pytest.raises(psycopg.errors.lookup(sqlstate)):
        Ledger(pool).transact(order, attempts=4)
    ((last,),) = (row.values() for row in orders.execute("select nextval('public.attempts')"))
    assert last == 5
    assert ordered(orders) == 0
    fit(pool)


def test_another_error_of_the_commit_is_not_run_again(orders: Db, pool: ConnectionPool) -> None:
    failing_commit(orders, "23514", 1)
    with pytest.raises(psycopg.errors.CheckViolation):
        Ledger(pool).transact(order)
    assert ordered(orders) == 0
    fit(pool)


def test_serializable_blocks_that_each_read_what_the_other_writes_are_run_one_after_the_other(
    orders: Db, database_url: str
) -> None:
    def serializable(connection: psycopg.Connection[Any]) -> None:
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE

    met = threading.Barrier(2, timeout=DEADLINE_SECONDS)
    runs: list[int] = []

    def last_of_two(tx: Ledger, number: int) -> None:
        rows = tx.connection.execute("select id from orders").fetchall()
        runs.append(number)
        if len(runs) <= 2:
            met.wait()
        if not rows:
            tx.connection.execute("insert into orders values (%s)", [f"order-{number}"])
            tx.top_up(f"v{number}", 5, key=f"order-{number}")
        if len(runs) <= 2:
            met.wait()

    with ConnectionPool(
        database_url, min_size=2, max_size=2, open=True, configure=serializable
    ) as pool:
        threads = [
            threading.Thread(
                target=Ledger(pool).transact, args=(lambda tx, n=n: last_of_two(tx, n),)
            )
            for n in (1, 2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        fit(pool)
    assert len(runs) == 3
    rows = orders.execute(
        "select o.id, t.account_id from orders o full join pgledger.transactions t on t.key = o.id"
        " where t.account_id is distinct from 'u'"
    ).fetchall()
    assert len(rows) == 1
    assert rows[0]["account_id"] == rows[0]["id"].replace("order-", "v")


def test_blocks_that_lock_two_accounts_the_wrong_way_round_both_get_through(
    orders: Db, pool: ConnectionPool
) -> None:
    met = threading.Barrier(2, timeout=DEADLINE_SECONDS)
    runs: list[str] = []

    def work(tx: Ledger, first: str, second: str) -> None:
        tx.top_up(first, 1, key=f"{first}-{second}")
        runs.append(first)
        if len(runs) <= 2:
            met.wait()
        tx.top_up(second, 1, key=f"{first}-{second}")

    threads = [
        threading.Thread(
            target=Ledger(pool).transact,
            args=(lambda tx, pair=pair: work(tx, *pair),),
            kwargs={"attempts": 10},
        )
        for pair in (("a", "b"), ("b", "a"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) > 2
    assert [Ledger(orders).get_credits(account) for account in ("a", "b")] == [2, 2]
    fit(pool)
