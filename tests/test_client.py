"""The Python wrapper: both facades, on connections and pools, inside the caller's transaction."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import errors as database_errors
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

import pgledger
from pgledger import AsyncLedger, Ledger, calls, records
from tests.conftest import Connect


@pytest.fixture
def ledger(connect: Connect) -> Ledger:
    return Ledger(connect())


@pytest.fixture
def pool(database_url: str) -> Iterator[ConnectionPool]:
    with ConnectionPool(database_url, min_size=2, max_size=2, open=True) as opened:
        yield opened


@asynccontextmanager
async def async_ledger(database_url: str) -> AsyncIterator[AsyncLedger]:
    async with AsyncConnectionPool(database_url, min_size=1, max_size=4, open=False) as pool:
        yield AsyncLedger(pool)


def public(of: type) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_")}


def test_both_facades_offer_the_same_calls() -> None:
    assert public(Ledger) == public(AsyncLedger)


def test_every_public_function_of_the_schema_is_an_operation(
    db: psycopg.Connection[dict[str, Any]],
) -> None:
    rows = db.execute(
        """
        select p.proname as name, p.proargnames[1:p.pronargs] as arguments
        from pg_proc p
        where p.pronamespace = 'pgledger'::regnamespace and p.proname not like '\\_%'
        """
    ).fetchall()
    in_sql = {row["name"]: row["arguments"] or [] for row in rows}
    in_python = {
        name: list(inspect.signature(function).parameters)
        for name, function in inspect.getmembers(calls, inspect.isfunction)
        if name in calls.__all__
    }

    assert {name: sorted(arguments) for name, arguments in in_python.items()} == {
        name: sorted(arguments) for name, arguments in in_sql.items()
    }
    assert set(in_python) <= public(Ledger)


def test_a_record_has_the_columns_of_its_type(db: psycopg.Connection[dict[str, Any]]) -> None:
    for record, of in (
        (records.Posting, "posting"),
        (records.Transaction, "transaction"),
        (records.Account, "accounts"),
        (records.AutoTopUp, "auto_top_ups"),
        (records.Event, "events"),
    ):
        columns = db.execute(
            """
            select a.attname from pg_attribute a
            where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped
            order by a.attnum
            """,
            (f"pgledger.{of}",),
        ).fetchall()
        assert [field.name for field in fields(record)] == [row["attname"] for row in columns]


def test_records_are_frozen_and_slotted() -> None:
    for record in vars(records).values():
        if is_dataclass(record) and isinstance(record, type):
            assert "__slots__" in vars(record)
            assert record.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_the_same_operations_are_awaited_on_an_async_ledger(database_url: str) -> None:
    async def story() -> None:
        async with async_ledger(database_url) as ledger:
            await ledger.top_up("u", 100)
            postings = await asyncio.gather(
                *(ledger.spend("u", 7, key=f"k{number % 10}") for number in range(20))
            )
            assert sum(not posting.replayed for posting in postings) == 10
            assert await ledger.get_credits("u") == 30
            with pytest.raises(pgledger.InsufficientCreditsError):
                await ledger.spend("u", 31)
            assert await ledger.verify() == []

    asyncio.run(story())


def test_a_call_on_a_connection_never_commits(connect: Connect, ledger: Ledger) -> None:
    mine = connect(autocommit=False)
    Ledger(mine).top_up("u", 100)
    assert mine.info.transaction_status is TransactionStatus.INTRANS
    assert ledger.get_credits("u") == 0
    mine.rollback()
    assert ledger.get_credits("u") == 0


@pytest.mark.parametrize("fails", [False, True])
def test_a_spend_and_the_order_it_pays_for_commit_together_or_not_at_all(
    connect: Connect,
    pool: ConnectionPool,
    fails: bool,  # noqa: FBT001
) -> None:
    db = connect()
    db.execute("create table orders (id text primary key, seq bigint)")
    ledger = Ledger(pool)
    ledger.top_up("u", 100)

    class OrderError(Exception):
        pass

    def order() -> None:
        with ledger.transaction() as tx:
            paid = tx.spend("u", 30, key="order-1")
            tx.connection.execute("insert into orders values ('order-1', %s)", (paid.seq,))
            if fails:
                raise OrderError

    if fails:
        with pytest.raises(OrderError):
            order()
    else:
        order()

    rows = db.execute("select * from orders").fetchall()
    assert (ledger.get_credits("u"), len(rows)) == ((100, 0) if fails else (70, 1))


def test_a_block_inside_a_block_is_a_savepoint(pool: ConnectionPool) -> None:
    ledger = Ledger(pool)
    with ledger.transaction() as outer:
        outer.top_up("u", 100)

        def spend_too_much() -> None:
            with outer.transaction() as inner:
                inner.spend("u", 10)
                inner.spend("u", 1000)

        with pytest.raises(pgledger.InsufficientCreditsError):
            spend_too_much()
        outer.spend("u", 1)
    assert ledger.get_credits("u") == 99


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_any_interruption_rolls_the_block_back(
    pool: ConnectionPool, interruption: type[BaseException]
) -> None:
    ledger = Ledger(pool)

    def interrupted() -> None:
        with ledger.transaction() as tx:
            tx.top_up("u", 100)
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert ledger.get_credits("u") == 0


def test_cancellation_rolls_an_async_block_back(database_url: str) -> None:
    async def story() -> None:
        async with async_ledger(database_url) as ledger:
            reached = asyncio.Event()

            async def work() -> None:
                async with ledger.transaction() as tx:
                    await tx.top_up("u", 100)
                    reached.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(work())
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await ledger.get_credits("u") == 0

    asyncio.run(story())


def test_a_refusal_leaves_the_pool_fit_for_use(pool: ConnectionPool) -> None:
    ledger = Ledger(pool)
    for _ in range(5):
        with pytest.raises(pgledger.InsufficientCreditsError):
            ledger.spend("u", 1)
    assert ledger.top_up("u", 1).balance == 1


def conflicting(times: int) -> tuple[list[int], Callable[[Ledger], int]]:
    runs: list[int] = []

    def work(tx: Ledger) -> int:
        tx.top_up("u", 1)
        runs.append(len(runs))
        if len(runs) <= times:
            tx.connection.execute("do $$ begin raise exception using errcode = '40001'; end $$")
        return len(runs)

    return runs, work


def test_a_transaction_is_run_again_after_a_conflict(pool: ConnectionPool) -> None:
    ledger = Ledger(pool)
    runs, work = conflicting(2)
    assert ledger.transact(work) == 3
    assert len(runs) == 3
    assert ledger.get_credits("u") == 1


def test_a_transaction_is_run_again_only_as_often_as_asked(pool: ConnectionPool) -> None:
    ledger = Ledger(pool)
    runs, work = conflicting(9)
    with pytest.raises(database_errors.SerializationFailure):
        ledger.transact(work, attempts=2)
    assert len(runs) == 2
    assert ledger.get_credits("u") == 0


def test_a_transaction_inside_another_is_not_run_again(connect: Connect) -> None:
    mine = connect(autocommit=False)
    mine.execute("select 1")
    runs, work = conflicting(1)
    with pytest.raises(database_errors.SerializationFailure):
        Ledger(mine).transact(work)
    assert len(runs) == 1


def test_a_refusal_is_not_run_again(pool: ConnectionPool) -> None:
    runs = []

    def work(tx: Ledger) -> None:
        runs.append(1)
        tx.spend("u", 1)

    with pytest.raises(pgledger.InsufficientCreditsError):
        Ledger(pool).transact(work)
    assert len(runs) == 1


def test_an_async_transaction_is_run_again_after_a_conflict(database_url: str) -> None:
    async def story() -> None:
        async with async_ledger(database_url) as ledger:
            runs = []

            async def work(tx: AsyncLedger) -> int:
                runs.append(1)
                await tx.top_up("u", 1)
                if len(runs) == 1:
                    raise database_errors.DeadlockDetected
                return len(runs)

            assert await ledger.transact(work) == 2
            assert await ledger.get_credits("u") == 1

            runs.clear()
            with pytest.raises(database_errors.DeadlockDetected):
                await ledger.transact(work, attempts=1)
            async with ledger.transaction() as tx:
                runs.clear()
                with pytest.raises(database_errors.DeadlockDetected):
                    await tx.transact(work)

    asyncio.run(story())


def test_a_ledger_on_a_pool_says_where_its_connection_is(
    pool: ConnectionPool, database_url: str
) -> None:
    with pytest.raises(TypeError, match="use transaction"):
        _ = Ledger(pool).connection

    async def story() -> None:
        async with async_ledger(database_url) as ledger:
            with pytest.raises(TypeError, match="use transaction"):
                _ = ledger.connection
            async with ledger.transaction() as tx:
                await tx.connection.execute("select 1")

    asyncio.run(story())


def test_a_refusal_carries_its_code_values_and_advice(ledger: Ledger) -> None:
    ledger.top_up("u", 3, key="t")
    with pytest.raises(pgledger.InsufficientCreditsError) as caught:
        ledger.spend("u", 5, key="s")

    error = caught.value
    assert isinstance(error, pgledger.LedgerError)
    assert (error.sqlstate, error.message) == ("LG001", "insufficient credits")
    assert error.details["available"] == 3
    assert error.details["missing"] == 2
    assert error.hint
    assert "available=3" in str(error)
    assert isinstance(error.__cause__, psycopg.Error)


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (lambda ledger: ledger.spend("u", 4), pgledger.InsufficientCreditsError),
        (lambda ledger: ledger.top_up("u", 4, key="t"), pgledger.IdempotencyConflictError),
        (lambda ledger: ledger.set_limits("no", min_balance=0), pgledger.AccountNotFoundError),
        (lambda ledger: ledger.spend("frozen", 1), pgledger.AccountNotOpenError),
        (lambda ledger: ledger.top_up("u", 1, ceiling_balance=3), pgledger.CeilingReachedError),
        (lambda ledger: ledger.enable_transaction("u", "no"), pgledger.TransactionNotFoundError),
        (lambda ledger: ledger.enable_transaction("u", "t"), pgledger.TransactionNotPendingError),
        (lambda ledger: ledger.refund("u", "t", 4), pgledger.ExceedsOriginalError),
        (lambda ledger: ledger.reverse_transaction("u", "no"), pgledger.TransactionNotFoundError),
        (lambda ledger: ledger.reverse_transaction("u", "t"), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.hold("u", 4), pgledger.InsufficientCreditsError),
        (lambda ledger: ledger.capture("u", "no"), pgledger.TransactionNotFoundError),
        (lambda ledger: ledger.release("u", "t"), pgledger.TransactionNotPendingError),
        (lambda ledger: ledger.transfer("u", "no", 1, key="m"), pgledger.AccountNotFoundError),
        (lambda ledger: ledger.transfer("frozen", "u", 1), pgledger.AccountNotOpenError),
        (lambda ledger: ledger.set_auto_top_up("no", 1, 1), pgledger.AccountNotFoundError),
        (lambda ledger: ledger.set_auto_top_up("u", 1, 0), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.ack_events(["u"], []), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.run_due(0), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.set_account_status("u", "CLOSED"), pgledger.AccountNotEmptyError),
        (lambda ledger: ledger.top_up("u", 2**63 - 1), pgledger.OutOfRangeError),
        (lambda ledger: ledger.top_up("u", 2**63), pgledger.OutOfRangeError),
        (lambda ledger: ledger.top_up("u", 10**40), pgledger.OutOfRangeError),
        (lambda ledger: ledger.spend(None, 1), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.spend("u", None), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.spend("u", 0), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.spend("u\0", 1), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.add_transaction("u", 1, "NO"), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.top_up("u", -(2**63) - 1), pgledger.OutOfRangeError),
        (lambda ledger: ledger.history("u", limit_count=2**31), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.history("u", limit_count=2**64), pgledger.OutOfRangeError),
        (lambda ledger: ledger.spend("u", 1.5), TypeError),
        (lambda ledger: ledger.spend("u", Decimal(1)), TypeError),
        (lambda ledger: ledger.balance_at("u", datetime(2026, 1, 1)), ValueError),  # noqa: DTZ001
    ],
)
def test_each_kind_of_refusal_is_a_class(
    ledger: Ledger, refused: Callable[[Ledger], object], error: type[Exception]
) -> None:
    ledger.top_up("u", 3, key="t")
    ledger.top_up("frozen", 3)
    ledger.set_account_status("frozen", "FROZEN")

    with pytest.raises(error):
        refused(ledger)
    assert ledger.get_credits("u") == 3


def test_changing_the_journal_is_refused_as_append_only(ledger: Ledger) -> None:
    ledger.top_up("u", 3)
    with pytest.raises(pgledger.AppendOnlyError), pgledger.errors.translated():
        ledger.connection.execute("delete from pgledger.transactions")


def test_other_database_errors_stay_psycopgs(ledger: Ledger, connect: Connect) -> None:
    connect().execute("drop schema pgledger cascade")
    with pytest.raises(database_errors.InvalidSchemaName):
        ledger.get_credits("u")


def test_a_refusal_can_be_a_row(connect: Connect) -> None:
    mine = connect(autocommit=False)
    ledger = Ledger(mine)
    refused = ledger.spend("u", 5, key="k", raise_refusals=False)
    assert (refused.status, refused.refusal, refused.amount) == ("REFUSED", "LG001", 0)
    assert ledger.top_up("u", 1).balance == 1


def test_one_statement_is_prepared_whatever_the_size_of_the_number(ledger: Ledger) -> None:
    for amount in (1, 40_000, 2**40):
        ledger.top_up("u", amount)
        for _ in range(6):
            ledger.spend("u", amount, shortfall="PARTIAL", raise_refusals=False)
    prepared = ledger.connection.execute(
        "select count(*) as n from pg_prepared_statements where statement like '%spend%'"
    ).fetchone()
    assert prepared == {"n": 1}
