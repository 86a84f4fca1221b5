"""The Python wrapper: both facades, on connections and pools, inside the caller's transaction."""

import asyncio
import copy
import inspect
import pickle
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors as database_errors
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, ConnectionPool

import pgledger
from pgledger import AsyncLedger, BatchItem, Ledger, calls, errors, records
from pgledger.calls._call import TEXTS
from pgledger.calls.batches import ARRAYS
from tests.conftest import Connect
from tests.support import Ledger as Db
from tests.support import let_pass

PAST = datetime(2001, 1, 1, tzinfo=UTC)


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

    # Arrays are for those who have no records; an array of objects, for those who have no arrays.
    in_python["post_batch"] = [*ARRAYS, "atomic"]
    in_sql.pop("post_batch_json", None)

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
        (records.PaymentEvent, "payment_event"),
        (records.StoredPaymentEvent, "payment_events"),
        (records.Payment, "payment"),
        (records.CardCheck, "card_check"),
        (records.PaymentReturn, "payment_return"),
        (records.Plan, "plans"),
        (records.PlanAssignment, "account_plans"),
        (records.SpendingCap, "spending_caps"),
        (records.PriceList, "price_list"),
        (records.UnitPrice, "unit_price"),
        (records.UsagePrice, "usage_price"),
        (records.Identifier, "account_identifiers"),
        (records.ResolvedAccount, "resolved_account"),
        (records.AuditEntry, "audit_log"),
        (records.RefundRequest, "refund_requests"),
        (records.ClaimedRefund, "refund_order"),
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


def test_a_credit_with_terms_is_a_lot_and_each_spend_knows_what_paid_for_it(ledger: Ledger) -> None:
    in_two_weeks = datetime.now(UTC) + timedelta(days=14)
    ledger.top_up("u", 100, key="t")
    ledger.grant_credits("u", 50, key="g", expires_at=in_two_weeks, metadata={"for": "trial"})
    assert ledger.grant_credits("u", 50, key="g", expires_at=in_two_weeks).replayed
    ledger.top_up("u", 20, key="p", priority=-1)
    ledger.spend("u", 90, key="s")

    promotion, trial = sorted(ledger.lots("u"), key=lambda lot: lot.priority)
    assert (promotion.key, promotion.type, promotion.drawn) == ("p", "TOP_UP", 20)
    assert (promotion.priority, promotion.expires_at) == (-1, None)
    assert (trial.lot, trial.key, trial.granted, trial.drawn, trial.remaining) == (
        2,
        "g",
        50,
        50,
        0,
    )
    assert (trial.held, trial.expired, trial.expires_at) == (0, 0, in_two_weeks)
    assert trial.metadata == {"for": "trial"}
    assert ledger.lots("u", include_closed=False) == []

    draws = ledger.explain_transaction("u", "s")
    assert [(draw.place, draw.lot, draw.lot_key, draw.amount) for draw in draws] == [
        (1, 3, "p", 20),
        (2, 2, "g", 50),
        (3, None, None, 20),
    ]
    assert all(draw.reason for draw in draws)
    assert ledger.explain_transaction("u", "unknown") == []


def test_what_expires_is_told_before_it_goes(ledger: Ledger) -> None:
    in_a_week, in_a_year = (datetime.now(UTC) + timedelta(days=days) for days in (7, 365))
    ledger.top_up("u", 100, key="a", expires_at=in_a_year)
    ledger.add_transaction("u", 50, "GRANT", key="b", expires_at=in_a_week, priority=2)
    assert [(lot.key, lot.amount, lot.expires_at) for lot in ledger.expiring("u")] == [
        ("b", 50, in_a_week)
    ]
    assert ledger.expiring("u", within=timedelta(days=6)) == []
    assert len(ledger.expiring("u", within=timedelta(days=366))) == 2
    balance = ledger.get_balance("u")
    assert (balance.next_expiry_at, balance.next_expiry_amount) == (in_a_week, 50)
    assert ledger.get_balance("v").next_expiry_at is None

    items = {item.item: item for item in ledger.explain_balance("u")}
    assert items["balance"].amount == 150
    assert all(item.words for item in items.values())

    revoked = ledger.revoke_lot("u", "b", reason="a mistake")
    assert (revoked.type, revoked.amount, revoked.balance) == ("REVERSAL", -50, 100)
    assert ledger.revoke_lot("u", "b", reason="a mistake").replayed
    assert ledger.expiring("u") == []


def test_a_reversal_may_extend_what_has_expired(db: Db, ledger: Ledger) -> None:
    in_a_week = datetime.now(UTC) + timedelta(days=7)
    for key in ("a", "b"):
        ledger.grant_credits("u", 50, key=key, expires_at=in_a_week)
        ledger.spend("u", 50, key=f"s{key}")
    let_pass(db, "8 days")
    assert ledger.reverse_transaction("u", "sa").available == 0
    assert ledger.reverse_transaction("u", "sb", extend=timedelta(days=1)).available == 50
    assert ledger.verify() == []


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        ("1 month", "1 month"),
        ("3 months", "3 months"),
        ("1 year", "12 months"),
        ("7 days", "7 days"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=30), "30 days"),
        ("P40D", "40 days"),
        ("14 months", "14 months"),
    ],
)
def test_a_period_is_answered_in_words_that_can_be_given_again(
    ledger: Ledger, given: str | timedelta, answered: str
) -> None:
    ledger.connection.execute("set intervalstyle = 'sql_standard'")
    plan = ledger.create_plan("p", 1, given, "ADD", anchor="ACCOUNT")
    assert plan.period == answered
    assert ledger.create_plan("p", 1, plan.period, "ADD", anchor="ACCOUNT") == plan
    assert ledger.list_plans() == [plan]
    ledger.open_account("u")
    ledger.assign_plan("u", "p")
    on = ledger.get_plan("u")
    assert on
    assert on.period == answered


def test_a_plan_is_assigned_changed_and_cleared(ledger: Ledger) -> None:
    ledger.open_account("u")
    assert ledger.get_plan("u") is None
    ledger.create_plan("small", 300, "1 month", "RESET", metadata={"price": 5})
    ledger.create_plan("large", 900, "1 month", "RESET", time_zone="Europe/Berlin")
    assert [plan.code for plan in ledger.list_plans()] == ["large", "small"]

    assigned = ledger.assign_plan("u", "small")
    assert (assigned.account_id, assigned.plan, assigned.next_plan) == ("u", "small", None)
    ledger.spend("u", 100)
    ledger.assign_plan("u", "large")
    on = ledger.get_plan("u")
    assert on
    assert (on.plan, on.policy, on.amount, on.anchor) == ("small", "RESET", 300, "CALENDAR")
    assert (on.allowance_left, on.next_plan, on.refill_at) == (200, "large", assigned.refill_at)

    ledger.assign_plan("u", "large", at_once=True, expire_allowance=True)
    on = ledger.get_plan("u")
    assert on
    assert (on.plan, on.allowance_left, on.time_zone) == ("large", 900, "Europe/Berlin")
    assert ledger.get_credits("u") == 900

    cleared = ledger.clear_plan("u", expire_allowance=True)
    assert cleared
    assert cleared.plan == "large"
    assert ledger.clear_plan("u") is None
    assert (ledger.get_plan("u"), ledger.get_credits("u")) == (None, 0)
    assert ledger.verify() == []


def test_a_spending_cap_is_set_used_up_and_taken_away(ledger: Ledger) -> None:
    ledger.top_up("u", 100)
    assert ledger.get_spending_cap("u") is None
    cap = ledger.set_spending_cap("u", 30, period=timedelta(days=1), time_zone="Asia/Tokyo")
    assert cap
    assert (cap.account_id, cap.amount, cap.period) == ("u", 30, "1 day")
    ledger.spend("u", 20)
    usage = ledger.get_spending_cap("u")
    assert usage
    assert (usage.amount, usage.used, usage.remaining) == (30, 20, 10)
    assert (usage.period, usage.time_zone) == ("1 day", "Asia/Tokyo")
    assert usage.resets_at == cap.resets_at

    with pytest.raises(pgledger.SpendingCapReachedError) as caught:
        ledger.spend("u", 11)
    details = caught.value.details
    assert (caught.value.sqlstate, caught.value.message) == ("LG008", "spending cap reached")
    assert (details["cap"], details["used"], details["remaining"]) == (30, 20, 10)
    assert details["requested"] == 11
    assert datetime.fromisoformat(details["resets_at"]) == cap.resets_at

    assert ledger.set_spending_cap("u", None) is None
    assert ledger.spend("u", 11).available == 69


def test_lots_plans_and_caps_are_awaited_on_an_async_ledger(database_url: str) -> None:
    async def story() -> None:
        async with async_ledger(database_url) as ledger:
            in_a_week = datetime.now(UTC) + timedelta(days=7)
            await ledger.grant_credits("u", 50, key="g", expires_at=in_a_week)
            await ledger.create_plan("pro", 300, "1 month", "TOP_UP_TO")
            await asyncio.gather(*(ledger.assign_plan("u", "pro") for _ in range(4)))
            assert await ledger.get_credits("u") == 300
            await ledger.set_spending_cap("u", 60)
            await ledger.spend("u", 60, key="s")
            with pytest.raises(pgledger.SpendingCapReachedError):
                await ledger.spend("u", 1)
            assert [draw.lot_key for draw in await ledger.explain_transaction("u", "s")] == [
                "g",
                None,
            ]
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
        (lambda ledger: ledger.top_up("u", 1, expires_at=PAST), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.top_up("u", 1, expires_at=datetime(2999, 1, 1)), ValueError),  # noqa: DTZ001
        (lambda ledger: ledger.grant_credits("u", 1, priority=2**31), pgledger.OutOfRangeError),
        (lambda ledger: ledger.grant_credits("u", 1, priority=1.5), TypeError),
        (lambda ledger: ledger.revoke_lot("u", "no"), pgledger.TransactionNotFoundError),
        (lambda ledger: ledger.revoke_lot("u", "t"), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.create_plan("", 1, "1 day", "ADD"), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.create_plan("p", 1, "x", "ADD"), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.create_plan("p", 1, "2 days", "ADD"), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.assign_plan("u", "no"), pgledger.InvalidArgumentError),
        (lambda ledger: ledger.clear_plan("no"), pgledger.AccountNotFoundError),
        (lambda ledger: ledger.set_spending_cap("no", 1), pgledger.AccountNotFoundError),
        (lambda ledger: ledger.set_spending_cap("u", -1), pgledger.InvalidArgumentError),
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


@pytest.mark.parametrize("kind", [errors.LedgerError, *dict.fromkeys(errors.ERRORS.values())])
def test_an_error_can_be_sent_to_another_process_and_copied(kind: type[errors.LedgerError]) -> None:
    error = kind(
        "words", sqlstate=[*kind.sqlstates, "XX000"][0], details={"a": [1], "b": None}, hint="do"
    )
    error.add_note("in a worker")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - our own
        assert type(again) is kind
        assert (str(again), again.args) == ("words (a=[1])", ("words (a=[1])",))
        assert vars(again) == vars(error)
        assert (again.sqlstate, again.details, again.hint) == (
            error.sqlstate,
            {"a": [1], "b": None},
            "do",
        )


def test_an_error_of_the_database_can_be_sent_to_another_process(ledger: Ledger) -> None:
    with pytest.raises(pgledger.InsufficientCreditsError) as caught:
        ledger.spend("u", 5, key="s")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (str(again), again.details) == (str(caught.value), caught.value.details)


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


def test_a_price_is_a_decimal_from_end_to_end(ledger: Ledger) -> None:
    tiny = Decimal("0.1234567890123456789")
    made = ledger.set_price("m", {"in": tiny, "out": 3}, rounding="HALF_EVEN")
    assert (made.prices, made.changed) == ({"in": tiny, "out": Decimal(3)}, True)
    for same in (made.prices, {"in": tiny, "out": Decimal("3.0")}):
        assert not ledger.set_price("m", same, rounding="HALF_EVEN").changed

    told = ledger.price("m", {"in": Decimal("1e1"), "out": 2})
    assert (told.cost, told.exact) == (7, 10 * tiny + 6)
    assert told.breakdown["in"] == {
        "quantity": Decimal(10),
        "credits_per_unit": tiny,
        "credits": 10 * tiny,
    }
    assert [row.credits_per_unit for row in ledger.list_prices()] == [tiny, Decimal(3)]
    with pytest.raises(pgledger.PriceNotFoundError) as caught:
        ledger.price("m", {"image": 1})
    assert caught.value.details["units"] == ["in", "out"]


def test_what_was_used_is_told_in_decimals(ledger: Ledger) -> None:
    ledger.top_up("u", 10)
    ledger.set_price("m", {"in": Decimal("0.1"), "out": 2})
    spent = ledger.spend_usage("u", "m", {"in": 3, "out": Decimal("0.5")}, key="k")
    assert (spent.amount, spent.error) == (-2, None)
    held = ledger.hold_usage("u", "m", {"in": 30}, key="h")
    assert (held.status, held.available) == ("PENDING", 5)
    captured = ledger.capture_usage("u", "h", {"in": 40})
    assert (captured.amount, captured.requested_amount, captured.balance) == (-3, -4, 4)

    transaction = ledger.get_transaction("u", "k")
    assert transaction is not None
    assert transaction.usage is not None
    assert transaction.usage["exact"] == Decimal("1.3")
    assert transaction.usage["breakdown"]["in"]["credits"] == Decimal("0.3")
    assert [found.usage is None for found in ledger.history("u")] == [True, False, False, True]
    refusal = ledger.spend_usage("u", "unknown", {"in": 1}, raise_refusals=False)
    with pytest.raises(pgledger.PriceNotFoundError):
        raise errors.refusal_of(refusal)
    assert ledger.verify() == []


def test_a_price_may_be_of_a_unit_of_any_name(ledger: Ledger) -> None:
    ledger.set_price("m", {'a "quoted" ü': 1})
    assert ledger.price("m", {'a "quoted" ü': 2}).cost == 2
    with pytest.raises(pgledger.InvalidArgumentError):
        ledger.price("m", {'a "quoted" ü': Decimal(-1)})


def test_who_is_who_is_told_by_whatever_names_somebody(ledger: Ledger) -> None:
    user = UUID("123E4567-E89B-42D3-A456-426614174000")
    opened = ledger.resolve_account(user, open=True, account_id="u")
    assert opened == pgledger.ResolvedAccount("u", "UUID", str(user), opened=True)
    linked = [
        ledger.link_identifier("u", "Ada@example.com", actor="eve"),
        ledger.link_identifier("u", 42),
        ledger.link_identifier("u", "42", kind="CUSTOMER"),
    ]
    assert [(link.kind, link.value) for link in linked] == [
        ("EMAIL", "ada@example.com"),
        ("INTEGER", "42"),
        ("CUSTOMER", "42"),
    ]
    assert {ledger.resolve_account(who).account_id for who in (str(user), 42, " 42")} == {"u"}
    assert [link.kind for link in ledger.list_identifiers("u")] == [
        *("EMAIL", "UUID", "INTEGER", "CUSTOMER")
    ]

    ledger.open_account("v")
    with pytest.raises(pgledger.IdempotencyConflictError):
        ledger.link_identifier("v", 42)
    assert ledger.link_identifier("v", 42, move=True).account_id == "v"
    assert [ledger.unlink_identifier(42), ledger.unlink_identifier(42)] == [True, False]
    with pytest.raises(pgledger.AccountNotFoundError):
        ledger.resolve_account(42)
    nobody: Any
    for nobody in ("undefined", None, 0, -1, UUID(int=0)):
        with pytest.raises(pgledger.InvalidArgumentError):
            ledger.resolve_account(nobody, open=True)


def test_objects_and_times_are_read_whatever_a_framework_made_of_its_connection(
    connect: Connect,
) -> None:
    mine = connect()
    for name in ("jsonb", "timestamptz"):
        mine.adapters.register_loader(name, TextLoader)
    ledger = Ledger(mine)
    ledger.top_up("u", 1, metadata={"a": 1})
    (posted,) = ledger.history("u")
    assert posted.metadata == {"a": 1}
    assert posted.created_at.tzinfo is not None
    assert mine.execute("select '{}'::jsonb as object").fetchone() == {"object": "{}"}


ITEM: Any = BatchItem
UNSENT: list[tuple[Callable[[Any], object], type[Exception], str]] = [
    (lambda to: to.spend("u", 1.5), TypeError, "amount: 1.5 is no int"),
    (lambda to: to.spend("u", "12"), TypeError, "amount: '12' is no int"),
    (lambda to: to.spend("u", amount=True), TypeError, "amount: True is no int"),
    (lambda to: to.spend("u", Decimal(1)), TypeError, "amount: Decimal('1') is no int"),
    (lambda to: to.spend("u", 1, key=5), TypeError, "key: 5 is no text"),
    (lambda to: to.spend("u", 1, key=b"k"), TypeError, "key: b'k' is no text"),
    (lambda to: to.spend(7, 1), TypeError, "account_id: 7 is no text"),
    (lambda to: to.spend("u", 1, reference=1.5), TypeError, "reference: 1.5 is no text"),
    (lambda to: to.spend("u", 1, metadata=["a"]), TypeError, "metadata: ['a'] is no mapping"),
    (lambda to: to.spend("u", 1, metadata=5), TypeError, "metadata: 5 is no mapping"),
    *(
        (
            lambda to, value=value: to.spend_usage("u", "m", {"in": 1, "out": value}, key="k"),
            TypeError,
            f"quantities: out is {value!r}, not an int or Decimal",
        )
        for value in (1.5, "12", None, True)
    ),
    *(
        (
            lambda to, value=value: to.spend_usage("u", "m", {"out": Decimal(value)}, key="k"),
            pgledger.InvalidArgumentError,
            f"quantities: out is {value}, not a finite number",
        )
        for value in ("NaN", "sNaN", "Infinity", "-Infinity")
    ),
    (lambda to: to.spend_usage("u", "m", {5: 1}), TypeError, "quantities: 5 is no text"),
    (lambda to: to.spend_usage("u", "m", 5), TypeError, "quantities: 5 is no mapping"),
    (lambda to: to.spend_usage("u", 5, {"in": 1}), TypeError, "code: 5 is no text"),
]


@pytest.mark.parametrize(("asked", "error", "words"), UNSENT)
@pytest.mark.parametrize("batched", [False, True])
def test_what_cannot_be_sent_is_refused_by_the_name_of_the_argument(
    pool: ConnectionPool,
    asked: Callable[[Any], object],
    error: type[Exception],
    words: str,
    batched: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    ledger = Ledger(pool)
    with (
        ledger.batcher() if batched else nullcontext(ledger) as to,
        pytest.raises(error, match="^" + re.escape(words)),
    ):
        asked(to)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (lambda of: of.set_price("m", {"in": 0.1}), "prices: in is 0.1, not an int or Decimal"),
        (lambda of: of.price("m", {"in": 1.0}), "quantities: in is 1.0, not an int or Decimal"),
        (lambda of: of.top_up("u", 1, ceiling_balance=2.0), "ceiling_balance: 2.0 is no int"),
        (lambda of: of.top_up("u", 1, priority=True), "priority: True is no int"),
        (lambda of: of.top_up("u", 1, external_id=7), "external_id: 7 is no text"),
        (lambda of: of.history("u", limit_count="10"), "limit_count: '10' is no int"),
        (lambda of: of.get_plan(5), "account_id: 5 is no text"),
        (lambda of: of.ack_events(["u"], [1.5]), "seqs: 1.5 is no int"),
        (lambda of: of.resolve_account(1.5), "identifier: 1.5 is no int"),
        (lambda of: of.unlink_identifier(identifier=True), "identifier: True is no int"),
        (lambda of: of.resolve_account("a@b.de", kind=1), "kind: 1 is no text"),
        (lambda of: of.set_spending_cap("u", 1, time_zone=UTC), "time_zone: "),
        (lambda _: ITEM("u", 1, "TOP_UP", key=5), "key: 5 is no text"),
        (lambda _: ITEM("u", 1.5, "TOP_UP"), "amount: 1.5 is no int"),
        (lambda _: ITEM("u", 1, "TOP_UP", priority=1.5), "priority: 1.5 is no int"),
        (
            lambda _: ITEM("u", None, "USAGE", code="m", quantities={"in": "1"}),
            "quantities: in is '1', not an int or Decimal",
        ),
    ],
)
def test_every_argument_that_cannot_be_sent_is_named(
    ledger: Ledger, asked: Callable[[Any], object], words: str
) -> None:
    with pytest.raises(TypeError, match="^" + re.escape(words)):
        asked(ledger)


def test_what_is_an_integer_or_a_text_by_its_class_may_be_sent(ledger: Ledger) -> None:
    class Whole:
        def __index__(self) -> int:
            return 3

    class Text(str):
        __slots__ = ()

    number: Any = Whole()
    assert ledger.top_up("u", number, key=Text("t")).balance == 3
    ledger.set_price("m", {"in": number})
    assert ledger.spend_usage("u", "m", {"in": 1}).amount == -3


def test_the_texts_known_by_name_are_those_of_the_functions(db: Db) -> None:
    rows = db.execute(
        """
        select p.proargnames[a.place] as name,
          bool_and(t.oid = 'text'::regtype or t.typtype = 'e') as is_text
        from pg_proc p
          cross join unnest(p.proargtypes) with ordinality a (type, place)
          join pg_type t on t.oid = a.type
        where p.pronamespace = 'pgledger'::regnamespace and p.proname not like '\\_%'
        group by 1
        """
    ).fetchall()
    assert {row["name"] for row in rows if row["is_text"]} == TEXTS


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (Ledger, "a Ledger takes a psycopg.Connection or a psycopg_pool.ConnectionPool, no "),
        (
            AsyncLedger,
            (
                "an AsyncLedger takes a psycopg.AsyncConnection or a "
                "psycopg_pool.AsyncConnectionPool, no "
            ),
        ),
    ],
)
def test_a_ledger_is_over_a_connection_or_a_pool_of_its_kind(
    pool: ConnectionPool, database_url: str, of: type, words: str
) -> None:
    async def asynchronous() -> list[object]:
        connection = await psycopg.AsyncConnection.connect(database_url)
        await connection.close()
        return [connection, AsyncConnectionPool(database_url, open=False)]

    with psycopg.connect(database_url) as connection:
        of_kind: dict[type, list[object]] = {
            Ledger: [connection, pool],
            AsyncLedger: asyncio.run(asynchronous()),
        }
        for source in of_kind.pop(of):
            of(source)
        for source in ("postgresql://me:secret@db/app", None, *of_kind.popitem()[1]):
            with pytest.raises(TypeError) as caught:
                of(source)
            assert str(caught.value) == words + type(source).__name__


def test_a_payment_is_told_from_python(ledger: Ledger) -> None:
    ledger.top_up("u", 100, key="k", is_active=False)
    at = datetime(2024, 1, 1, tzinfo=UTC)
    fact: dict[str, Any] = {"record": "payment", "payment_id": "p", "status": "SUCCEEDED"}
    fact |= {"account_id": "u"}
    fact |= {"key": "k", "occurred_at": at, "customer": None}
    with ledger.transaction() as tx:
        assert tx.record_payment_event("test", "e", "t", "{}", occurred_at=at).is_new
        event = tx.process_payment_event("test", "e", (one for one in [fact]))
    assert (event.status, event.error) == ("PROCESSED", None)
    assert event.result is not None
    assert event.result[0]["seq"] == 1
    (payment,) = ledger.list_payments(account_id="u")
    assert payment == ledger.record_payment("test", "p", "SUCCEEDED", account_id="u", key="k")
    stored = ledger.get_payment_event("test", "e")
    assert stored is not None
    assert (stored.payload, stored.occurred_at) == ("{}", at)
    assert ledger.get_payment_event("test", "f") is None
    with pytest.raises(ValueError, match="occurred_at must have a time zone"):
        ledger.process_payment_event("test", "e", [fact | {"occurred_at": datetime(2024, 1, 1)}])  # noqa: DTZ001
    ledger.record_payment("test", "q", "SUCCEEDED")
    assert ledger.match_payment("test", "q", "u", amount=5, actor="ann").seq == 2
    assert ledger.record_card_check("test", "c", "u", amount=1).balance == 106
