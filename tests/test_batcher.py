"""Movements of many callers in few calls: each has its own answer, as if it had called alone."""

import asyncio
import contextvars
import json
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.types.json import set_json_dumps
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pgledger import (
    AsyncBatcher,
    AsyncLedger,
    Batcher,
    BatcherClosedError,
    BatchItem,
    InsufficientCreditsError,
    Ledger,
    Posting,
)
from tests.crowds import (
    Crowd,
    Gather,
    Tasks,
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

NEVER = 3600.0


@pytest.fixture
def funded(db: Connection) -> Connection:
    for account in ("u", "v", "w"):
        db.execute("select pgledger.top_up(%s, 1000, 'funds')", [account])
    return db


@asynccontextmanager
async def async_batcher(url: str, **options: Any) -> AsyncIterator[AsyncBatcher]:  # noqa: ANN401
    async with (
        AsyncConnectionPool(url, min_size=1, open=False) as pool,
        AsyncLedger(pool).batcher(**options) as batcher,
    ):
        yield batcher


# Each its own answer


def test_each_of_many_callers_has_the_answer_to_its_own_call(
    gather: Gather, funded: Connection
) -> None:
    crowd = gather(connections=2, pool={"max_size": 2})
    asked = {
        f"k{n}": crowd.ask("spend", "uvw"[n % 3], 1 + n % 5, key=f"k{n}", reference=f"r{n}")
        for n in range(256)
    }
    for n, (key, future) in enumerate(asked.items()):
        posting = future.result(DEADLINE_SECONDS)
        assert (posting.account_id, posting.key, posting.amount) == (
            *("uvw"[n % 3], key, -(1 + n % 5)),
        )
        assert (posting.status, posting.replayed) == ("POSTED", False)
    assert unsound(funded) == []


def test_an_answer_is_committed_before_it_is_given(gather: Gather, funded: Connection) -> None:
    posting = gather().ask("spend", "u", 7, key="k").result(DEADLINE_SECONDS)
    assert posting.balance == 993
    assert keys(funded) == ["k"]


def test_the_movements_of_an_account_keep_the_order_in_which_they_were_asked_for(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather(max_items=7, max_queued=20, connections=2, pool={"max_size": 2})
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1, key="first")
        wait_for_lock(funded)
        asked = ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(50)])
    postings = answers([first, *asked])
    assert [posting.seq for posting in postings] == list(range(2, 53))
    assert keys(funded) == ["first", *(f"k{n}" for n in range(50))]


def test_accounts_take_turns_so_that_a_busy_one_does_not_keep_the_others_waiting(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather(max_items=5)
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1)
        wait_for_lock(funded)
        asked = ask_in_order(
            crowd, [*(("u", 1, f"k{n}") for n in range(12)), ("v", 1, "v"), ("w", 1, "w")]
        )
    answers([first, *asked])
    at = {
        row["key"]: row["created_at"]
        for row in funded.execute("select key, created_at from pgledger.transactions").fetchall()
    }
    assert max(at["v"], at["w"], at["k2"]) < at["k3"]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"account_id": "poor", "amount": 1001}, id="short of credits"),
        pytest.param({"account_id": "nobody"}, id="no account"),
        pytest.param({"account_id": "frozen"}, id="frozen"),
        pytest.param({"amount": 2, "key": "taken"}, id="key taken"),
        pytest.param({"amount": 51, "account_id": "capped"}, id="cap"),
        pytest.param({"amount": 2, "account_id": "poor", "shortfall": "DEBT"}, id="debt"),
        pytest.param({"amount": 0}, id="nothing"),
        pytest.param({"amount": -5}, id="a credit"),
        pytest.param({"amount": None}, id="no amount"),
        pytest.param({"amount": 2**63}, id="beyond bigint"),
        pytest.param({"amount": 1.5}, id="a float"),
        pytest.param({"amount": "1"}, id="a text"),
        pytest.param({"shortfall": "FORCE"}, id="force"),
        pytest.param({"shortfall": "WHATEVER"}, id="no shortfall"),
        pytest.param({"account_id": None}, id="null account"),
        pytest.param({"account_id": ""}, id="empty account"),
        pytest.param({"key": "#1"}, id="key of the ledger"),
        pytest.param({"key": "k" * 256}, id="long key"),
        pytest.param({"reference": "a\nb"}, id="bad reference"),
        pytest.param({"key": "a\0b"}, id="NUL"),
        pytest.param({"key": "\ud800"}, id="no UTF-8"),
        pytest.param({"metadata": ["a"]}, id="metadata is a list"),
        pytest.param({"metadata": {"a": object()}}, id="metadata is no JSON"),
        pytest.param({"metadata": {"a": "\0"}}, id="NUL in metadata"),
        pytest.param({"metadata": {"a": float("nan")}}, id="NaN in metadata"),
    ],
)
def test_an_error_is_that_of_the_single_call_and_of_its_caller_alone(
    gather: Gather, funded: Connection, connect: Connect, arguments: dict[str, Any]
) -> None:
    funded.execute("select pgledger.spend('u', 1, 'taken'), pgledger.top_up('frozen', 9)")
    funded.execute("select pgledger.set_account_status('frozen', 'FROZEN')")
    funded.execute("select pgledger.top_up('capped', 90), pgledger.set_spending_cap('capped', 50)")
    funded.execute("select pgledger.top_up('poor', 1)")
    given: dict[str, Any] = {"account_id": "u", "amount": 1, "key": "bad"} | arguments
    with pytest.raises(Exception) as alone:  # noqa: PT011 - whatever it is
        Ledger(connect()).spend(**given)

    crowd = gather()
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1, key="first")
        wait_for_lock(funded)
        before = ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(3)])
        bad = crowd.ask("spend", **given)
        after = ask_in_order(crowd, [("v", 1, f"k{n}") for n in range(3)])
    answers([first, *before, *after])
    (together,) = errors([bad])
    assert type(together) is type(alone.value)
    if not isinstance(together, psycopg.Error):  # psycopg's own name the function
        assert str(together) == str(alone.value)
    for part in ("sqlstate", "details", "hint", "message"):
        assert getattr(together, part, None) == getattr(alone.value, part, None)
    assert keys(funded) == ["taken", "first", "k0", "k1", "k2"]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"code": "unknown"}, id="unknown code"),
        pytest.param({"code": None}, id="no code"),
        pytest.param({"quantities": None}, id="no quantities"),
        pytest.param({"quantities": {}}, id="empty quantities"),
        pytest.param({"quantities": {"pixel": 1}}, id="unknown unit"),
        pytest.param({"quantities": {"token": -1}}, id="negative"),
        pytest.param({"quantities": {"token": 1.5}}, id="a float"),
        pytest.param({"quantities": {"token": Decimal("NaN")}}, id="no number"),
        pytest.param({"quantities": {"token": Decimal("1e30")}}, id="beyond bigint"),
        pytest.param({"quantities": {"token": 3000}}, id="short of credits"),
        pytest.param({"key": "taken"}, id="key taken"),
        pytest.param({"shortfall": "FORCE"}, id="force"),
    ],
)
def test_an_error_of_a_usage_is_that_of_the_single_call_and_of_its_caller_alone(
    gather: Gather, funded: Connection, connect: Connect, arguments: dict[str, Any]
) -> None:
    funded.execute("""select pgledger.set_price('small', '{"token": 0.5}')""")
    funded.execute("select pgledger.spend('v', 5, 'taken')")
    given: dict[str, Any] = {"code": "small", "quantities": {"token": 10}, "key": "bad"} | arguments
    with pytest.raises(Exception) as alone:  # noqa: PT011 - whatever it is
        Ledger(connect()).spend_usage("v", **given)

    crowd = gather()
    with held(connect(), "u"):
        first = crowd.ask("spend", "u", 1, key="first")
        wait_for_lock(funded)
        bad = crowd.ask("spend_usage", "v", **given)
        others = ask_in_order(crowd, [("v", 1, "a"), ("u", 1, "b")])
    answers([first, *others])
    (together,) = errors([bad])
    assert type(together) is type(alone.value)
    if not isinstance(together, psycopg.Error):
        assert getattr(together, "message", None) == getattr(alone.value, "message", None)
        assert getattr(together, "hint", None) == getattr(alone.value, "hint", None)
    assert sorted(keys(funded, "v")) == ["a", "taken"]


def test_a_usage_is_priced_with_the_others(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    funded.execute("""select pgledger.set_price('small', '{"token": 0.5}')""")
    crowd = gather()
    with held(connect(), "u"):
        asked = [crowd.ask("spend", "u", 1, key="first")]
        wait_for_lock(funded)
        asked += [
            crowd.ask("spend_usage", "u", "small", {"token": Decimal("10.5")}, key=f"k{n % 3}")
            for n in range(9)
        ]
    postings = answers(asked)
    assert [posting.amount for posting in postings[1:]] == [-6] * 9
    assert sum(posting.replayed for posting in postings) == 6
    found = Ledger(funded).get_transaction("u", "k0")
    assert found is not None
    assert found.usage is not None
    assert found.usage["breakdown"]["token"]["quantity"] == Decimal("10.5")
    assert unsound(funded) == []


def test_what_is_no_text_is_refused_before_it_can_spoil_a_batch(
    gather: Gather, funded: Connection
) -> None:
    crowd = gather()
    asked = [
        crowd.ask("spend", 5, 1),
        crowd.ask("spend", "u", 1, key=b"k"),
        crowd.ask("spend", "u", 1, reference=7),
    ]
    assert [type(error) for error in errors(asked)] == [TypeError] * 3
    assert keys(funded) == []


@pytest.mark.parametrize("company", [0, 3])
def test_a_refusal_may_be_returned_but_a_misuse_is_raised_as_in_the_single_call(
    gather: Gather, funded: Connection, connect: Connect, company: int
) -> None:
    crowd = gather()
    with held(connect(), "u"):
        others = [crowd.ask("spend", "u", 1) for _ in range(min(company, 1))]
        if others:
            wait_for_lock(funded)
        others += ask_in_order(crowd, [("v", 1, f"k{n}") for n in range(company)])
        refused = crowd.ask("spend", "v", 1001, raise_refusals=False)
        misused = crowd.ask("spend", "v", 1, key="#1", raise_refusals=False)
    answers(others)
    posting = refused.result(DEADLINE_SECONDS)
    assert (posting.status, posting.refusal) == ("REFUSED", "LG001")
    assert [type(error).__name__ for error in errors([misused])] == ["InvalidArgumentError"]
    assert len(keys(funded, "v")) == company


def test_a_repeat_is_a_replay_even_within_one_batch(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather()
    with held(connect(), "u"):
        asked = [crowd.ask("spend", "u", 5, key="k") for _ in range(5)]
        wait_for_lock(funded)
    assert sorted(posting.replayed for posting in answers(asked)) == [False, *[True] * 4]
    assert crowd.ask("spend", "u", 5, key="k").result(DEADLINE_SECONDS).replayed
    assert keys(funded) == ["k"]


def test_any_movement_may_be_posted_with_the_others(gather: Gather, funded: Connection) -> None:
    crowd = gather()
    soon = datetime.now(UTC) + timedelta(days=1)
    credit, forced, cut = answers(
        [
            crowd.ask("post", BatchItem("x", 5, "GRANT", key="g", expires_at=soon, priority=2)),
            crowd.ask("post", BatchItem("y", -5, "ADJUSTMENT", key="f", shortfall="FORCE")),
            crowd.ask("post", BatchItem("u", 50, "TOP_UP", ceiling_balance=1010)),
        ]
    )
    assert (credit.type, credit.balance, forced.balance, cut.amount) == ("GRANT", 5, -5, 10)
    assert [lot.expires_at for lot in Ledger(funded).lots("x")] == [soon]
    refused = crowd.ask("post", BatchItem("u", -2000, "USAGE"), raise_refusals=False)
    assert refused.result(DEADLINE_SECONDS).refusal == "LG001"
    with pytest.raises(ValueError, match="time zone"):
        BatchItem("x", 5, "GRANT", expires_at=datetime(2100, 1, 1))  # noqa: DTZ001


def test_metadata_is_what_it_was_when_it_was_given(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather()
    metadata = {"model": "small"}
    with held(connect(), "u"):
        asked = [crowd.ask("spend", "u", 1, key="first")]
        wait_for_lock(funded)
        asked.append(crowd.ask("spend", "u", 1, key="k", metadata=metadata))
        until(lambda: crowd.batcher.queued == 1)
        metadata["model"] = "large"
    answers(asked)
    found = Ledger(funded).get_transaction("u", "k")
    assert found is not None
    assert found.metadata == {"model": "small"}


# Who waits for whom


def test_a_caller_alone_waits_for_nobody(gather: Gather, funded: Connection) -> None:
    crowd = gather(max_delay=NEVER)
    for n in range(5):
        assert crowd.ask("spend", "u", 1).result(DEADLINE_SECONDS).seq == n + 2
    assert unsound(funded) == []


def crowded(crowd: Crowd, db: Connection, connect: Connect) -> None:
    """Have one batch of ten go by, after which company is expected."""
    with held(connect(), "u"):
        asked = [crowd.ask("spend", "u", 1)]
        wait_for_lock(db)
        asked += ask_in_order(crowd, [("u", 1, f"crowd-{n}") for n in range(10)])
    answers(asked)


@pytest.mark.parametrize("ending", ["flush", "close", "company"])
def test_after_a_crowd_the_next_batch_waits_for_half_as_many_unless_it_is_told_not_to(
    gather: Gather, funded: Connection, connect: Connect, ending: str
) -> None:
    crowd = gather(max_delay=NEVER)
    crowded(crowd, funded, connect)
    asked = ask_in_order(crowd, [("u", 1, "late"), ("u", 1, "later")])
    if ending == "company":
        asked += ask_in_order(crowd, [("u", 1, "x"), ("u", 1, "y")])
        assert crowd.batcher.queued == 4
        asked.append(crowd.ask("spend", "u", 1, key="z"))
    else:
        crowd.ask(ending).result(DEADLINE_SECONDS)
    answers(asked)
    assert keys(funded)[11:13] == ["late", "later"]


def test_the_wait_for_company_is_bounded(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather(max_delay=0.001)
    crowded(crowd, funded, connect)
    assert crowd.ask("spend", "u", 1).result(DEADLINE_SECONDS).seq == 13


def test_a_batcher_takes_in_no_more_than_its_bound_and_the_others_wait_in_line(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather(max_items=2, max_queued=3)
    with held(connect(), "u"):
        asked = [crowd.ask("spend", "u", 1, key="first")]
        wait_for_lock(funded)
        asked += ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(10)])
        assert (crowd.batcher.queued, crowd.batcher.in_line) == (3, 7)
    answers(asked)
    assert keys(funded) == ["first", *(f"k{n}" for n in range(10))]
    assert (crowd.batcher.queued, crowd.batcher.in_line) == (0, 0)


def test_two_batches_of_an_account_are_never_under_way_at_once_and_others_pass(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather(max_items=2, connections=3, pool={"max_size": 3})
    with held(connect(), "u"):
        asked = [crowd.ask("spend", "u", 1, key="first")]
        wait_for_lock(funded)
        asked += ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(6)])
        passing = [crowd.ask("spend", account, 1, key="p") for account in "vwvwvw"]
        assert sum(posting.replayed for posting in answers(passing)) == 4
        assert len(wait_for_lock(funded)) == 1
        assert crowd.batcher.queued == 6
    answers(asked)
    assert keys(funded) == ["first", *(f"k{n}" for n in range(6))]


def test_flush_waits_for_what_was_asked_before_it_and_for_nothing_else(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather(max_items=2, max_queued=2, connections=2, pool={"max_size": 2})
    crowd.ask("flush").result(DEADLINE_SECONDS)
    with held(connect(), "v"):
        with held(connect(), "u"):
            before = [crowd.ask("spend", "u", 1)]
            wait_for_lock(funded)
            before += ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(5)])
            flushing = crowd.ask("flush")
            until(lambda: crowd.batcher._queue.flushing)  # noqa: SLF001 - nothing else tells
            after = crowd.ask("spend", "v", 1)
            assert not flushing.done()
        flushing.result(DEADLINE_SECONDS)
        assert len(keys(funded)) == 6
        assert not after.done()
    answers([*before, after])


# Who gives up


def test_a_cancelled_caller_takes_its_movement_back_as_long_as_it_is_not_sent(
    database_url: str, funded: Connection, connect: Connect
) -> None:
    crowd = Tasks(database_url, {}, max_queued=2)
    with held(connect(), "u"):
        sent = crowd.ask("spend", "u", 1, key="sent")
        wait_for_lock(funded)
        queued, in_line, last = (
            ask_in_order(crowd, [("u", 1, key)])[0] for key in ("queued", "q2", "in line")
        )
        assert (crowd.batcher.queued, crowd.batcher.in_line) == (2, 1)
        last.cancel()
        until(lambda: crowd.batcher.in_line == 0)
        queued.cancel()
        until(lambda: crowd.batcher.queued == 1)
        sent.cancel()
        flushing = crowd.ask("flush")
        until(lambda: crowd.batcher._queue.flushing)  # noqa: SLF001 - nothing else tells
        assert not flushing.done()
    flushing.result(DEADLINE_SECONDS)
    assert keys(funded) == ["sent", "q2"]
    assert in_line.result(DEADLINE_SECONDS).seq == 3
    assert keys(funded) == ["sent", "q2"]
    assert crowd.ask("spend", "u", 1, key="sent").result(DEADLINE_SECONDS).replayed
    crowd.leave()


def test_a_timeout_around_a_call_is_the_callers_own(
    database_url: str, funded: Connection, connect: Connect
) -> None:
    async def story() -> None:
        async with async_batcher(database_url) as batcher:
            with held(connect(), "u"):
                patient = asyncio.ensure_future(batcher.spend("u", 1, key="patient"))
                await asyncio.to_thread(wait_for_lock, funded)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await batcher.spend("u", 1, key="impatient")
            assert (await patient).seq == 2

    asyncio.run(story())
    assert keys(funded) == ["patient"]


def test_an_interrupted_thread_takes_its_movement_back(
    database_url: str, funded: Connection, connect: Connect
) -> None:
    with ConnectionPool(database_url, open=True) as pool, Ledger(pool).batcher() as batcher:
        sent = threading.Thread(target=batcher.spend, args=("u", 1), kwargs={"key": "sent"})

        def interrupt() -> None:
            until(lambda: batcher.queued == 1)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        with held(connect(), "u"):
            sent.start()
            wait_for_lock(funded)
            interrupting = threading.Thread(target=interrupt)
            interrupting.start()
            with pytest.raises(KeyboardInterrupt):
                batcher.spend("u", 1, key="interrupted")
            interrupting.join()
        sent.join()
    assert keys(funded) == ["sent"]


def test_a_callers_context_is_its_own_and_not_that_of_what_sends(
    database_url: str, funded: Connection
) -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="nobody's")
    seen = []

    def dumps(value: object) -> str:
        seen.append(request.get())
        return json.dumps(value)

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        set_json_dumps(dumps, connection)

    async def story() -> None:
        async with (
            AsyncConnectionPool(database_url, configure=configure, open=False) as pool,
            AsyncLedger(pool).batcher() as batcher,
        ):

            async def caller(name: str) -> str:
                request.set(name)
                await batcher.spend("u", 1, metadata={"a": 1})
                return request.get()

            assert [*await asyncio.gather(caller("a"), caller("b"))] == ["a", "b"]

    asyncio.run(story())
    assert seen == ["nobody's"] * 2
    assert len(keys(funded)) == 2


# Closing


def test_closing_posts_what_was_taken_in_and_takes_in_nothing_more(
    gather: Gather, funded: Connection, connect: Connect
) -> None:
    crowd = gather(max_items=2, max_queued=3)
    with held(connect(), "u"):
        asked = [crowd.ask("spend", "u", 1, key="first")]
        wait_for_lock(funded)
        asked += ask_in_order(crowd, [("u", 1, f"k{n}") for n in range(6)])
        closing = [crowd.ask("close"), crowd.ask("close")]

        def refused() -> bool:
            if crowd.batcher.in_line > 3:
                return False
            late = crowd.ask("spend", "v", 1, key="late")
            return isinstance(late.exception(DEADLINE_SECONDS), BatcherClosedError)

        until(refused)
        assert not any(future.done() for future in (*asked, *closing))
    answers(asked)
    for future in closing:
        future.result(DEADLINE_SECONDS)
    assert keys(funded) == ["first", *(f"k{n}" for n in range(6))]


def test_a_closed_batcher_says_so_and_may_be_closed_again(
    gather: Gather, funded: Connection
) -> None:
    crowd = gather()
    assert crowd.ask("spend", "u", 1).result(DEADLINE_SECONDS).seq == 2
    for _ in range(2):
        crowd.ask("close").result(DEADLINE_SECONDS)
    for asked in (
        crowd.ask("spend", "u", 1),
        crowd.ask("post", BatchItem("u", 1, "GRANT")),
        crowd.ask("flush"),
        crowd.ask("open"),
    ):
        assert isinstance(asked.exception(DEADLINE_SECONDS), BatcherClosedError)
    assert len(keys(funded)) == 1


def test_a_block_that_fails_still_posts_what_was_taken_in(
    database_url: str, funded: Connection
) -> None:
    async def story() -> None:
        asked: list[asyncio.Future[Posting]] = []

        async def block() -> None:
            async with async_batcher(database_url) as batcher:
                asked.extend(
                    asyncio.ensure_future(batcher.spend("u", 1, key=f"k{n}")) for n in range(3)
                )
                await asyncio.sleep(0)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await block()
        assert [task.result().seq for task in asked] == [2, 3, 4]

    asyncio.run(story())
    assert keys(funded) == ["k0", "k1", "k2"]


def test_a_batcher_must_be_opened(database_url: str) -> None:
    with ConnectionPool(database_url, open=True) as pool:
        batcher = Ledger(pool).batcher()
        with pytest.raises(BatcherClosedError, match="not open"):
            batcher.spend("u", 1)
        batcher.close()
        with pytest.raises(BatcherClosedError, match="closed"):
            batcher.open()

    async def story() -> None:
        async with AsyncConnectionPool(database_url, open=False) as pool:
            batcher = AsyncLedger(pool).batcher()
            with pytest.raises(BatcherClosedError, match="not open"):
                await batcher.spend("u", 1)
            await batcher.close()

    asyncio.run(story())


# What it runs on


def test_it_runs_on_a_connection_in_autocommit_mode(funded: Connection, connect: Connect) -> None:
    connection = connect()
    with Ledger(connection).batcher() as batcher:
        assert batcher.spend("u", 1, key="k").seq == 2
        with connection.transaction(), pytest.raises(psycopg.ProgrammingError, match="autocommit"):
            batcher.spend("u", 1, key="uncommitted")
        with pytest.raises(InsufficientCreditsError):
            batcher.spend("u", 1000)
    assert keys(funded) == ["k"]


def test_it_refuses_a_connection_whose_transaction_is_somebody_elses(
    database_url: str, connect: Connect
) -> None:
    with pytest.raises(psycopg.ProgrammingError, match="autocommit"):
        Ledger(connect(autocommit=False)).batcher()
    connection = connect()
    with connection.transaction(), pytest.raises(psycopg.ProgrammingError, match="outside"):
        Ledger(connection).batcher()
    with pytest.raises(ValueError, match="several connections need a pool"):
        Ledger(connection).batcher(connections=2)

    async def story() -> None:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            with pytest.raises(psycopg.ProgrammingError, match="autocommit"):
                AsyncLedger(connection).batcher()

    asyncio.run(story())


@pytest.mark.parametrize(
    "limits",
    [
        {"max_items": 0},
        {"max_queued": 0},
        {"connections": 0},
        {"connections": -1},
        {"max_delay": -1},
        {"max_delay": float("nan")},
        {"max_delay": float("inf")},
    ],
)
def test_limits_that_would_send_nothing_are_refused(
    connect: Connect, limits: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        Ledger(connect()).batcher(**limits)


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        *(
            ({name: value}, "int")
            for name in ("max_items", "max_queued", "connections")
            for value in (1.5, "2", None, True)
        ),
        ({"max_delay": "2"}, "int or float"),
        ({"max_delay": None}, "int or float"),
    ],
)
def test_limits_that_are_no_numbers_are_refused_by_name(
    connect: Connect, limits: dict[str, Any], kind: str
) -> None:
    ((name, value),) = limits.items()
    with pytest.raises(TypeError, match=f"^{name}: {value!r} is no {kind}$"):
        Ledger(connect()).batcher(**limits)


def test_a_pool_in_autocommit_mode_serves_as_well(gather: Gather, funded: Connection) -> None:
    crowd = gather(pool={"kwargs": {"autocommit": True}})
    answers([crowd.ask("spend", "u", 1) for _ in range(20)])
    assert len(keys(funded)) == 20


# The call itself


def test_post_batch_answers_each_item_in_the_order_given(funded: Connection) -> None:
    ledger = Ledger(funded)
    soon = datetime.now(UTC) + timedelta(days=1)
    items = [
        BatchItem("u", -5, "USAGE", key="a", reference="chat", metadata={"n": 1}),
        BatchItem("u", -5000, "USAGE", key="b"),
        BatchItem("x", 9, "GRANT", key="c", expires_at=soon, priority=-1, external_id="e"),
        BatchItem("u", 100, "TOP_UP", ceiling_balance=1000),
        BatchItem("v", -2000, "USAGE", shortfall="PARTIAL"),
        BatchItem("w", 0, "USAGE"),
    ]
    postings = ledger.post_batch(item for item in items)
    assert [posting.account_id for posting in postings] == [item.account_id for item in items]
    assert [posting.amount for posting in postings] == [-5, 0, 9, 5, -1000, 0]
    assert [posting.refusal for posting in postings] == [None, "LG001", None, None, None, "22023"]
    again = ledger.post_batch(items[:3])
    assert [posting.replayed for posting in again] == [True, False, True]
    assert ledger.post_batch([]) == []
    assert len(set(items)) == 6


def test_an_atomic_batch_raises_the_first_refusal_and_posts_nothing(funded: Connection) -> None:
    items = [BatchItem("u", -5, "USAGE", key="a"), BatchItem("u", -5000, "USAGE", key="b")]
    with pytest.raises(InsufficientCreditsError) as refused:
        Ledger(funded).post_batch(items, atomic=True)
    assert refused.value.details["item"] == 2
    assert keys(funded) == []


def test_a_batch_may_be_part_of_the_callers_transaction(
    funded: Connection, database_url: str
) -> None:
    async def story() -> None:
        async with (
            AsyncConnectionPool(database_url, open=False) as pool,
            AsyncLedger(pool).transaction() as tx,
        ):
            (posting,) = await tx.post_batch([BatchItem("u", -5, "USAGE")])
            assert posting.balance == 995
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(story())
    assert keys(funded) == []


def test_both_batchers_offer_the_same() -> None:
    assert {n for n in dir(Batcher) if n[0] != "_"} == {n for n in dir(AsyncBatcher) if n[0] != "_"}
