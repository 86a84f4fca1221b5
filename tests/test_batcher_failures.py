"""What goes wrong around a batch: every caller is told, nothing is posted twice, nobody hangs."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors as database_errors
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

import pgledger
from pgledger import (
    AsyncBatcher,
    AsyncLedger,
    BatcherClosedError,
    Ledger,
    Posting,
    embedded,
    migrate,
)
from tests.crowds import (
    AsyncFailsAfterCommit,
    AsyncLosesTheAnswer,
    Crowd,
    FailsAfterCommit,
    Gather,
    LosesTheAnswer,
    Tasks,
    Threads,
    answers,
    ask_in_order,
    errors,
    held,
    keys,
    until,
    wait_for_lock,
)
from tests.races import unsound
from tests.sessions import DEADLINE_SECONDS, Connect, Connection


@pytest.fixture
def funded(db: Connection) -> Connection:
    for account in ("u", "v", "w"):
        db.execute("select pgledger.top_up(%s, 1000, 'funds')", [account])
    return db


def terminate(db: Connection, pid: int) -> None:
    db.execute("select pg_terminate_backend(%s)", [pid])


# The database


def test_a_connection_killed_in_the_middle_of_a_batch_is_told_to_each_of_its_callers(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather()
    names = ["first", *(f"k{n}" for n in range(6))]
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1, key="first")
        (pid,) = wait_for_lock(funded)
        asked = ask_in_order(crowd, [("u", 1, key) for key in names[1:]])
        terminate(funded, pid)
        told = errors([first])
        # Those that waited meanwhile are under way now, on another connection.
        (pid,) = wait_for_lock(funded)
        terminate(funded, pid)
        told += errors(asked)
    assert {type(error) for error in told} == {database_errors.AdminShutdown}
    assert keys(funded) == []
    again = answers([crowd.ask("spend", "u", 1, key=key) for key in names])
    assert not any(posting.replayed for posting in again)
    assert sorted(keys(funded)) == sorted(names)
    assert unsound(funded) == []


def test_a_pool_that_tries_its_connections_spares_the_callers_those_that_died(
    database_url: str, funded: Connection
) -> None:
    check = ConnectionPool.check_connection
    with (
        ConnectionPool(database_url, min_size=3, max_size=3, check=check, open=True) as pool,
        Ledger(pool).batcher() as batcher,
    ):
        pool.wait(DEADLINE_SECONDS)
        for n in range(3):
            funded.execute(
                """
                select pg_terminate_backend(pid, 10000) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid()
                  and backend_type = 'client backend'
                """
            )
            assert batcher.spend("u", 1, key=f"k{n}").seq == n + 2


def test_each_caller_has_an_error_of_its_own_to_raise(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather()
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1)
        (pid,) = wait_for_lock(funded)
        asked = ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(5)])
        terminate(funded, pid)
        errors([first])
        (pid,) = wait_for_lock(funded)
        terminate(funded, pid)
        told = errors(asked)
    assert len({id(error) for error in told}) == 5
    assert len({str(error) for error in told}) == 1
    assert {error.__cause__ for error in told} == {told[0].__cause__}
    assert isinstance(told[0].__cause__, database_errors.AdminShutdown)


@pytest.mark.parametrize(
    ("kind", "losing"),
    [pytest.param(Threads, LosesTheAnswer, id="threads"), (Tasks, AsyncLosesTheAnswer)],
)
def test_an_answer_that_is_lost_after_the_commit_is_had_again_by_the_key(
    database_url: str,
    funded: Connection,
    kind: Callable[..., Crowd],
    losing: type[LosesTheAnswer | AsyncLosesTheAnswer],
) -> None:
    losing.lost = 0
    crowd = kind(database_url, {"connection_class": losing})
    (told,) = errors([crowd.ask("spend", "u", 5, key="k")])
    assert isinstance(told, psycopg.OperationalError)
    assert keys(funded) == ["k"]
    again = crowd.ask("spend", "u", 5, key="k").result(DEADLINE_SECONDS)
    assert (again.replayed, again.balance) == (True, 995)
    assert keys(funded) == ["k"]
    crowd.leave()


@pytest.mark.parametrize(
    ("kind", "failing"),
    [pytest.param(Threads, FailsAfterCommit, id="threads"), (Tasks, AsyncFailsAfterCommit)],
)
def test_what_fails_after_the_commit_is_not_sent_again(
    database_url: str, funded: Connection, connect: Connect, kind: Callable[..., Crowd],
    failing: type[FailsAfterCommit | AsyncFailsAfterCommit],
) -> None:  # fmt: skip
    crowd = kind(database_url, {"connection_class": failing})
    with held(connect(), "u"):
        asked = [crowd.ask("spend", "u", 1)]
        wait_for_lock(funded)
        asked += [crowd.ask("spend", "u", 1) for _ in range(5)]
        until(lambda: crowd.batcher.queued == 5)
    assert {str(error) for error in errors(asked)} == {"after commit"}
    assert len(keys(funded)) == 6
    crowd.leave()


@pytest.mark.parametrize("autocommit", [True, False])
def test_an_answer_that_cannot_be_read_posts_nothing_twice(
    database_url: str, funded: Connection, connect: Connect, *, autocommit: bool
) -> None:
    def loads(_: str | bytes) -> object:
        raise ValueError("unreadable")

    def configure(connection: psycopg.Connection[Any]) -> None:
        set_json_loads(loads, connection)

    crowd = Threads(database_url, {"configure": configure, "kwargs": {"autocommit": autocommit}})
    with held(connect(), "u"):
        asked = [crowd.ask("spend", "u", 1)]
        wait_for_lock(funded)
        asked += [crowd.ask("spend", "u", 1) for _ in range(4)]
        # Only a refusal has a JSON in its answer.
        refused = crowd.ask("spend", "u", 5000)
        asked += [crowd.ask("spend", "u", 1) for _ in range(4)]
        until(lambda: crowd.batcher.queued == 9)
    answers(asked)
    assert [str(error) for error in errors([refused])] == ["unreadable"]
    assert len(keys(funded)) == 9
    crowd.leave()


def test_an_exhausted_pool_is_told_to_the_callers_and_the_next_ones_are_served(
    gather: Gather, funded: Connection
) -> None:
    crowd = gather(pool={"max_size": 1, "timeout": 0.1})
    give_back = crowd.lend().result(DEADLINE_SECONDS)
    told = errors([crowd.ask("spend", "u", 1, key=f"k{n}") for n in range(10)])
    assert {type(error) for error in told} == {PoolTimeout}
    give_back()
    assert crowd.ask("spend", "u", 1, key="k").result(DEADLINE_SECONDS).seq == 2
    assert keys(funded) == ["k"]


def test_a_caller_may_go_away_while_its_batch_waits_for_a_connection(
    database_url: str, funded: Connection
) -> None:
    crowd = Tasks(database_url, {"max_size": 1})
    give_back = crowd.lend().result(DEADLINE_SECONDS)
    gone = crowd.ask("spend", "u", 1, key="gone")
    until(lambda: crowd.pool.get_stats().get("requests_waiting"))
    stays = crowd.ask("spend", "u", 1, key="stays")
    gone.cancel()
    give_back()
    assert stays.result(DEADLINE_SECONDS).seq == 2
    assert keys(funded) == ["stays"]
    crowd.leave()


def test_a_batch_that_loses_a_deadlock_is_posted_again(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather()
    other = connect(autocommit=False)
    other.execute("set deadlock_timeout = '1h'")  # so that it is the batch which finds out
    other.execute("select pgledger.spend('v', 1)")
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1)
        wait_for_lock(funded)
        asked = ask_in_order(crowd, [("u", 1, "a"), ("v", 1, "b")])
    answers([first])
    wait_for_lock(funded)
    other.execute("select pgledger.spend('u', 1)")
    other.commit()
    assert [posting.replayed for posting in answers(asked)] == [False, False]
    assert unsound(funded) == []


def test_a_batch_that_met_a_newer_snapshot_is_posted_again(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather(pool={"kwargs": {"options": "-c default_transaction_isolation=serializable"}})
    other = connect(autocommit=False)
    other.execute("select pgledger.spend('u', 1)")
    asked = crowd.ask("spend", "u", 1)
    wait_for_lock(funded)
    other.commit()
    assert asked.result(DEADLINE_SECONDS).seq == 3


def test_a_conflict_that_does_not_end_is_told(gather: Gather, funded: Connection) -> None:
    funded.execute(
        """
        create function public.conflict() returns trigger language plpgsql as
        $$ begin raise exception using errcode = '40001', message = 'again'; end $$;
        create trigger conflict before insert on pgledger.transactions
        for each row execute function public.conflict()
        """
    )
    crowd = gather()
    told = errors([crowd.ask("spend", "u", 1) for _ in range(3)])
    assert {type(error) for error in told} == {database_errors.SerializationFailure}
    assert keys(funded) == []


def test_a_locked_account_does_not_fail_the_others_of_its_batch(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather(pool={"kwargs": {"options": "-c lock_timeout=1s"}})
    with held(connect(), "w"):
        with held(connect(), "u"):
            first = crowd.ask("spend", "u", 1)
            wait_for_lock(funded)
            asked = ask_in_order(crowd, [("v", 1, "a"), ("w", 1, "b"), ("v", 1, "c")])
        answers([asked[0], asked[2]])
        assert isinstance(errors([asked[1]])[0], database_errors.LockNotAvailable)
    assert keys(funded, "v") == ["a", "c"]
    assert first.done()


def test_what_is_wrong_with_the_database_is_told_to_all_at_once(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather()
    funded.execute("alter function pgledger.post_batch rename to gone")
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1)
        wait_for_lock(funded)
        asked = ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(5)])
    answers([first])
    told = errors(asked)
    assert len(keys(funded)) == 1
    assert {type(error) for error in told} == {database_errors.UndefinedFunction}


def test_a_server_that_restarts_in_the_middle_loses_nothing_and_posts_nothing_twice(
    gather: Gather,
) -> None:
    names = [f"k{n}" for n in range(20)]
    with embedded.throwaway_server() as server:
        connections: list[Connection] = []

        def connect() -> Connection:
            connections.append(psycopg.connect(server.url(), autocommit=True, row_factory=dict_row))
            return connections[-1]

        db = connect()
        db.execute(migrate.install_script().encode())
        db.execute("select pgledger.top_up('u', 1000)")
        crowd = gather(server.url(), pool={"max_size": 2}, max_items=5)
        with suppress(psycopg.OperationalError), held(connect(), "u"):
            first = crowd.ask("spend", "u", 1, key="first")
            wait_for_lock(db)
            asked = ask_in_order(crowd, [("u", 1, key) for key in names])
            embedded.stop(server.directory)
        errors([first])
        embedded.start(server.directory, throwaway=True)
        told = [future.exception(DEADLINE_SECONDS) for future in asked]
        for key, error in zip(names, told, strict=True):
            assert error is None or isinstance(error, psycopg.OperationalError)
            assert repeated(crowd, key).replayed is (error is None)
        db = connect()
        assert sorted(keys(db)) == sorted(names)
        assert unsound(db) == []
        for connection in connections:
            connection.close()


def repeated(crowd: Crowd, key: str, account: str = "u") -> Posting:
    """Ask again by the key until the server answers."""
    while True:
        with suppress(psycopg.OperationalError):
            posting = crowd.ask("spend", account, 1, key=key).result(DEADLINE_SECONDS)
            assert isinstance(posting, Posting)
            return posting


def test_whatever_is_killed_and_whoever_gives_up_each_key_is_posted_once(
    gather: Gather, funded: Connection
) -> None:
    dice = random.Random(7)  # noqa: S311
    accounts = [dice.choice("uvw") for _ in range(400)]
    crowd = gather(connections=3, pool={"max_size": 3}, max_items=20, max_queued=40)
    asked: list[Future[Posting]] = []
    for n, account in enumerate(accounts):
        asked.append(crowd.ask("spend", account, 1, key=f"k{n}"))
        if n % 40 == 20:
            funded.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid() and query like"
                " '%post_batch%'"
            )
        if n % 25 == 0:
            asked[dice.randrange(len(asked))].cancel()
    wait(asked, DEADLINE_SECONDS)
    posted = {
        future.result().key for future in asked if not future.cancelled() and answered(future)
    }
    for n, account in enumerate(accounts):
        again = repeated(crowd, f"k{n}", account)
        assert again.replayed or f"k{n}" not in posted
    found = [key for account in "uvw" for key in keys(funded, account)]
    assert sorted(found) == sorted(f"k{n}" for n in range(400))
    assert unsound(funded) == []


def answered(future: "Future[Posting]") -> bool:
    """Whether a caller was told a result; only the connection may have failed."""
    error = future.exception(DEADLINE_SECONDS)
    assert error is None or isinstance(error, psycopg.OperationalError)
    return error is None


# What sends


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_wakes_everybody(
    database_url: str, funded: Connection, connect: Connect
) -> None:
    def dumps(value: object) -> str:
        if value == {"kill": True}:
            raise SystemExit
        return json.dumps(value)

    crowd = Threads(
        database_url,
        {"configure": lambda connection: set_json_dumps(dumps, connection)},
        max_items=2,
        max_queued=3,
    )
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1, key="first")
        wait_for_lock(funded)
        with_it = ask_in_order(crowd, [("u", 1, "k0")])
        with_it.append(crowd.ask("spend", "u", 1, key="killer", metadata={"kill": True}))
        until(lambda: crowd.batcher.queued == 2)
        behind = ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(1, 5)])
        flushing = crowd.ask("flush")
    assert answers([first])[0].seq == 2
    assert {type(error) for error in errors(with_it)} == {psycopg.OperationalError}
    for error in errors([*behind, crowd.ask("spend", "u", 1)]):
        assert isinstance(error, BatcherClosedError)
        assert isinstance(error.__cause__, SystemExit)
    assert not isinstance(flushing.exception(DEADLINE_SECONDS), TimeoutError)
    crowd.leave()
    assert keys(funded) == ["first"]


def test_a_task_that_is_cancelled_wakes_everybody(
    database_url: str, funded: Connection, connect: Connect
) -> None:
    async def cancel() -> None:
        for task in asyncio.all_tasks():
            if task.get_name().startswith("pgledger-batcher"):
                task.cancel()

    crowd = Tasks(database_url, {}, max_queued=2)
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1, key="first")
        wait_for_lock(funded)
        behind = ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(4)])
        crowd.do(cancel).result(DEADLINE_SECONDS)
        assert isinstance(errors([first])[0], psycopg.OperationalError)
        for error in errors([*behind, crowd.ask("spend", "u", 1)]):
            assert isinstance(error, BatcherClosedError)
    crowd.leave()
    assert keys(funded) == []


def test_closing_that_is_cancelled_stops_what_is_under_way(
    database_url: str, funded: Connection, connect: Connect
) -> None:
    crowd = Tasks(database_url, {})
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1, key="first")
        wait_for_lock(funded)
        behind = ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(3)])
        closing = crowd.ask("close")
        until(lambda: crowd.batcher._queue.closing)  # noqa: SLF001 - nothing else tells
        closing.cancel()
        assert isinstance(errors([first])[0], psycopg.OperationalError)
        assert {type(error) for error in errors(behind)} == {BatcherClosedError}
    crowd.leave()
    assert keys(funded) == []


def test_a_batcher_belongs_to_its_event_loop(database_url: str, funded: Connection) -> None:
    async def begin() -> AsyncBatcher:
        async with AsyncConnectionPool(database_url, open=False) as pool:
            batcher = AsyncLedger(pool).batcher()
            await batcher.open()
            assert (await batcher.spend("u", 1)).seq == 2
            return batcher

    async def go_on(batcher: AsyncBatcher) -> None:
        with pytest.raises(BatcherClosedError, match="another event loop"):
            await batcher.spend("u", 1)
        with pytest.raises(BatcherClosedError, match="another event loop"):
            await batcher.flush()
        await batcher.close()

    asyncio.run(go_on(asyncio.run(begin())))
    assert len(keys(funded)) == 1


# Programs

BEGIN = """
import asyncio, os, sys, threading
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from pgledger import AsyncLedger, BatcherClosedError, Ledger

url = sys.argv[1]
"""

FORGETS_TO_CLOSE = """
pool = ConnectionPool(url, open=True)
batcher = Ledger(pool).batcher()
batcher.open()
print(batcher.spend("u", 1).seq)
threading.Thread(target=lambda: print(batcher.spend("u", 1).seq)).start()
"""

FORGETS_TO_AWAIT = """
async def story():
    pool = AsyncConnectionPool(url, min_size=1, open=False)
    await pool.open(wait=True)  # cancelled while it connects, a pool of psycopg's may hang
    batcher = AsyncLedger(pool).batcher()
    await batcher.open()
    print((await batcher.spend("u", 1)).seq)
    waiting = [asyncio.ensure_future(batcher.spend("u", 1)) for _ in range(10)]
    await asyncio.sleep(0)

asyncio.run(story())
print("over")
"""

FORKS = """
with ConnectionPool(url, open=True) as pool, Ledger(pool).batcher() as batcher:
    print(batcher.spend("u", 1).seq, flush=True)
    if os.fork() == 0:
        for work in (lambda: batcher.spend("u", 1), batcher.flush):
            try:
                work()
            except BatcherClosedError as error:
                print(error, flush=True)
        batcher.close()
        os._exit(0)
    os.wait()
    print(batcher.spend("u", 1).seq)
"""


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (FORGETS_TO_CLOSE, ["2", "3"]),
        (FORGETS_TO_AWAIT, ["2", "over"]),
        (
            FORKS,
            ["2", *["the batcher was opened before a fork: open one in each process"] * 2, "3"],
        ),
    ],
    ids=["threads that are not closed", "tasks that are not awaited", "a fork"],
)
def test_a_program_ends_whatever_it_forgot(
    database_url: str, funded: Connection, program: str, told: list[str]
) -> None:
    assert keys(funded) == []
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGIN + program, database_url],
        env={**os.environ, "PYTHONPATH": str(Path(pgledger.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert ran.stdout.splitlines() == told
    assert "never retrieved" not in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 0
