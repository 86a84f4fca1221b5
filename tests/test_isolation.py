"""Every isolation level, and every way a call can be cut short.

A conflict surfaces as 40001 and is answered by running the transaction again; it is never taken for
a shortage of credits, an unknown key or a missing account. What was cut short left nothing behind.
"""

from collections.abc import Callable
from typing import LiteralString

import psycopg
import pytest

from tests.sessions import (
    LEVELS,
    RETRY,
    SNAPSHOT_LEVELS,
    Connect,
    Connection,
    Row,
    Session,
    begin,
    stepped,
)

SPEND: LiteralString = "select * from pgledger.spend('r0', 10, 'spend')"
TOP_UP: LiteralString = "select * from pgledger.top_up('r0', 10, 'paid')"
ANNOUNCE: LiteralString = "select * from pgledger.top_up('r0', 10, 'soon', is_active => false)"
ENABLE: LiteralString = "select * from pgledger.enable_transaction('r0', 'soon')"
CANCEL: LiteralString = "select * from pgledger.cancel_transaction('r0', 'soon')"
HISTORY: LiteralString = """
insert into pgledger.transactions
  (account_id, seq, amount, running_balance, created_at, type)
values ('r0', 1, 20, 20, clock_timestamp(), 'TOP_UP')
"""


def everything(db: Connection) -> list[Row]:
    """Every row of the ledger's own tables, as text."""
    return db.execute(
        """
        select 'account' as what, x::text as row from pgledger.accounts x
        union all select 'balance', x::text from pgledger.balances x
        union all select 'pending', x::text from pgledger.pending_transactions x
        union all select 'transaction', x::text from pgledger.transactions x
        order by 1, 2
        """
    ).fetchall()


def credit_left(db: Connection) -> int:
    (row,) = db.execute("select pgledger.get_credits('r0') as credits").fetchall()
    credits_left: int = row["credits"]
    return credits_left


def sound(db: Connection) -> bool:
    return db.execute("select * from pgledger.verify()").fetchall() == []


# Alone, every level is the same


@pytest.mark.parametrize("level", LEVELS)
def test_a_whole_life_of_an_account_is_the_same_at_every_level(
    connect: Connect, db: Connection, level: LiteralString
) -> None:
    script: list[tuple[LiteralString, str]] = [
        (SPEND, "LG001"),
        ("select * from pgledger.open_account('r0')", "ok"),
        (TOP_UP, "ok"),
        (TOP_UP, "replayed"),
        (SPEND, "ok"),
        (SPEND, "replayed"),
        (ANNOUNCE, "ok"),
        (CANCEL, "ok"),
        (ENABLE, "LG007"),
        ("select * from pgledger.enable_transaction('r0', 'soon', external_id => 'pi_1')", "ok"),
        (CANCEL, "LG007"),
        ("select * from pgledger.spend('r0', 99)", "LG001"),
        ("select * from pgledger.set_account_status('r0', 'FROZEN')", "ok"),
        ("select * from pgledger.spend('r0', 1)", "LG004"),
        ("select * from pgledger.set_account_status('r0', 'OPEN')", "ok"),
        ("select * from pgledger.set_limits('r0', -5)", "ok"),
        ("select * from pgledger.spend('r0', 15)", "ok"),
        ("select * from pgledger.spend('r0', 1)", "LG001"),
    ]
    told = []
    with stepped(connect, 1) as (caller,):
        for statement, _ in script:
            begin(caller, level)
            told.append(caller.run(statement).word)
            caller.run("commit")
    assert told == [word for _, word in script]
    assert credit_left(db) == -5
    assert sound(db)


# Races, in the order that hurts

Prepare = Callable[[Session], object]


def nothing(_: Session) -> None:
    """The account has never been seen."""


def credited(session: Session) -> None:
    session.run("select pgledger.grant_credits('r0', 5)")


def rich(session: Session) -> None:
    session.run("select pgledger.grant_credits('r0', 50)")


def imported(session: Session) -> None:
    session.run(HISTORY)


def announced(session: Session) -> None:
    session.run(ANNOUNCE)


def cancelled(session: Session) -> None:
    session.run(ANNOUNCE)
    session.run(CANCEL)


def only_just_covered(session: Session) -> None:
    session.run("select pgledger.grant_credits('r0', 10)")


OTHER_SPEND: LiteralString = "select * from pgledger.spend('r0', 10)"
OTHER_TOP_UP: LiteralString = "select * from pgledger.top_up('r0', 10)"
BY_WEBHOOK: LiteralString = "select * from pgledger.top_up('r0', 10, 'a', external_id => 'pi_1')"
BY_PAGE: LiteralString = "select * from pgledger.top_up('r0', 10, 'b', external_id => 'pi_1')"
FREEZE: LiteralString = "select * from pgledger.set_account_status('r0', 'FROZEN')"
CLOSE: LiteralString = "select * from pgledger.set_account_status('r0', 'CLOSED')"
RAISE_LIMIT: LiteralString = "select * from pgledger.set_limits('r0', -100)"
OPEN: LiteralString = "select * from pgledger.open_account('r0', min_balance => -100)"
LATE: LiteralString = (
    "select * from pgledger.enable_transaction('r0', 'soon', external_id => 'pi_1')"
)
REFUSED_ROW: LiteralString = "select * from pgledger.spend('r0', 10, raise_refusals => false)"
TOO_MUCH: LiteralString = "select * from pgledger.spend('r0', 999, raise_refusals => false)"

# (what was there, what the other session does, what this one asks, what it is told once both are
# known). A caller that is told anything else was refused, or credited, wrongly.
RACES = [
    pytest.param(credited, OTHER_TOP_UP, SPEND, "ok", id="spend after a top-up"),
    pytest.param(credited, OTHER_TOP_UP, REFUSED_ROW, "ok", id="spend as a row after a top-up"),
    pytest.param(nothing, OTHER_TOP_UP, SPEND, "ok", id="spend after the first top-up"),
    pytest.param(nothing, OTHER_TOP_UP, REFUSED_ROW, "ok", id="spend as a row after the first"),
    pytest.param(nothing, OPEN, SPEND, "ok", id="spend after open_account"),
    pytest.param(nothing, OTHER_TOP_UP, OTHER_TOP_UP, "ok", id="two first top-ups"),
    pytest.param(nothing, OTHER_TOP_UP, FREEZE, "ok", id="freeze after the first top-up"),
    pytest.param(nothing, OTHER_TOP_UP, RAISE_LIMIT, "ok", id="limits after the first top-up"),
    pytest.param(imported, OTHER_SPEND, SPEND, "ok", id="fallback row built by another spend"),
    pytest.param(imported, FREEZE, SPEND, "LG004", id="fallback row built by a freeze"),
    pytest.param(rich, SPEND, SPEND, "replayed", id="repeat of a spend"),
    pytest.param(only_just_covered, SPEND, SPEND, "replayed", id="repeat of the last spend"),
    pytest.param(nothing, TOP_UP, TOP_UP, "replayed", id="repeat of the first top-up"),
    pytest.param(nothing, ANNOUNCE, ANNOUNCE, "replayed", id="repeat of an announcement"),
    pytest.param(rich, BY_WEBHOOK, BY_PAGE, "replayed", id="one external_id, two keys"),
    pytest.param(nothing, BY_WEBHOOK, BY_PAGE, "replayed", id="one first external_id, two keys"),
    pytest.param(nothing, ANNOUNCE, ENABLE, "ok", id="enable after the first announcement"),
    pytest.param(rich, ANNOUNCE, ENABLE, "ok", id="enable after an announcement"),
    pytest.param(rich, ANNOUNCE, CANCEL, "ok", id="cancel after an announcement"),
    pytest.param(announced, ENABLE, ENABLE, "replayed", id="two enables"),
    pytest.param(announced, ENABLE, CANCEL, "LG007", id="cancel after enable"),
    pytest.param(announced, CANCEL, ENABLE, "LG007", id="enable after cancel"),
    pytest.param(announced, CANCEL, CANCEL, "replayed", id="two cancels"),
    pytest.param(announced, CANCEL, LATE, "ok", id="late money after cancel"),
    pytest.param(cancelled, LATE, LATE, "replayed", id="late money twice"),
    pytest.param(announced, CANCEL, CLOSE, "ok", id="close after cancel"),
    pytest.param(announced, ENABLE, SPEND, "ok", id="spend after enable"),
    pytest.param(rich, FREEZE, SPEND, "LG004", id="spend after a freeze"),
    pytest.param(credited, RAISE_LIMIT, SPEND, "ok", id="spend after limits"),
    pytest.param(only_just_covered, OTHER_SPEND, SPEND, "LG001", id="the last credits"),
    pytest.param(only_just_covered, OTHER_SPEND, CLOSE, "ok", id="close after the last spend"),
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("prepare", "other", "asked", "right"), RACES)
@pytest.mark.parametrize("in_flight", [True, False], ids=["in flight", "after the snapshot"])
def test_a_conflict_is_a_conflict_and_never_a_wrong_answer(
    connect: Connect,
    db: Connection,
    *,
    prepare: Prepare,
    other: LiteralString,
    asked: LiteralString,
    right: str,
    level: LiteralString,
    in_flight: bool,
) -> None:
    with stepped(connect) as (first, second):
        prepare(first)
        begin(second, level)
        first.run("begin")
        assert first.run(other).word == "ok"
        if in_flight:
            assert second.start(asked), "the second call did not wait for the first"
            first.run("commit")
            told = second.finish().word
        else:
            first.run("commit")
            told = second.run(asked).word

        if level == "read committed":
            assert told == right
        else:
            # The snapshot is older than what it would have to know.
            assert told in RETRY
        second.run("commit")

        if told in RETRY:
            begin(second, level)
            assert second.run(asked).word == right
            second.run("commit")
    assert sound(db)


@pytest.mark.parametrize("level", LEVELS[:2])
@pytest.mark.parametrize(("prepare", "other", "asked", "_right"), RACES)
def test_what_was_rolled_back_in_flight_is_as_if_it_never_was(
    connect: Connect,
    db: Connection,
    *,
    prepare: Prepare,
    other: LiteralString,
    asked: LiteralString,
    _right: str,
    level: LiteralString,
) -> None:
    with stepped(connect) as (first, second):
        prepare(first)
        before = everything(db)
        second.run("begin")
        alone = second.run(asked).word
        second.run("rollback")
        assert everything(db) == before

        begin(second, level)
        first.run("begin")
        first.run(other)
        assert second.start(asked), "the second call did not wait for the first"
        first.run("rollback")
        assert second.finish().word == alone
        second.run("commit")
    assert sound(db)


@pytest.mark.parametrize("level", SNAPSHOT_LEVELS)
def test_a_key_of_a_snapshot_that_is_still_new_enough_is_replayed(
    connect: Connect, db: Connection, level: LiteralString
) -> None:
    with stepped(connect, 1) as (caller,):
        rich(caller)
        caller.run(SPEND)
        begin(caller, level)
        assert [caller.run(SPEND).word for _ in range(2)] == ["replayed", "replayed"]
        caller.run("commit")
    assert credit_left(db) == 40


# Refusals inside a larger transaction


@pytest.mark.parametrize("level", LEVELS)
def test_a_refusal_returned_as_a_row_leaves_the_rest_of_the_transaction_alone(
    connect: Connect, db: Connection, level: LiteralString
) -> None:
    db.execute("create table orders (id int primary key)")
    with stepped(connect, 1) as (caller,):
        begin(caller, level)
        caller.run("insert into orders values (1)")
        assert caller.run(REFUSED_ROW).word == "LG001"
        assert caller.run(OTHER_TOP_UP).word == "ok"
        assert caller.run(SPEND).word == "ok"
        assert caller.run(REFUSED_ROW).word == "LG001"
        caller.run("insert into orders values (2)")
        caller.run("commit")
    assert db.execute("select id from orders order by id").fetchall() == [{"id": 1}, {"id": 2}]
    assert credit_left(db) == 0
    assert sound(db)


def test_a_raised_refusal_takes_the_order_it_was_to_pay_for_with_it(
    connect: Connect, db: Connection
) -> None:
    db.execute("create table orders (id int primary key)")
    with stepped(connect, 1) as (caller,):
        caller.run("begin")
        caller.run("insert into orders values (1)")
        assert caller.run(SPEND).word == "LG001"
        caller.run("commit")
    assert db.execute("select id from orders").fetchall() == []
    assert everything(db) == []


def test_a_savepoint_takes_back_a_posting_and_its_balance_row(
    connect: Connect, db: Connection
) -> None:
    with stepped(connect, 1) as (caller,):
        caller.run("begin")
        caller.run("savepoint before")
        caller.run(TOP_UP)
        caller.run("rollback to before")
        assert caller.run(SPEND).word == "LG001"
        caller.run("rollback to before")
        assert caller.run(TOP_UP).word == "ok"
        caller.run("commit")
    assert credit_left(db) == 10
    assert sound(db)


# Calls that are cut short while they wait

BLOCKED_CALLS = [
    pytest.param(rich, SPEND, id="spend"),
    pytest.param(credited, SPEND, id="refused spend"),
    pytest.param(rich, TOP_UP, id="top_up"),
    pytest.param(nothing, TOP_UP, id="first top_up"),
    pytest.param(imported, SPEND, id="first spend of imported history"),
    pytest.param(rich, ANNOUNCE, id="announce"),
    pytest.param(announced, ENABLE, id="enable"),
    pytest.param(announced, CANCEL, id="cancel"),
]


def holding_the_account(first: Session) -> None:
    """Hold the account's balance row, or its place, in a transaction."""
    first.run("begin")
    first.run("select pgledger.grant_credits('r0', 1)")


@pytest.mark.parametrize(("prepare", "asked"), BLOCKED_CALLS)
@pytest.mark.parametrize(
    ("setting", "sqlstate"),
    [("statement_timeout", "57014"), ("lock_timeout", "55P03"), (None, "57014")],
    ids=["statement_timeout", "lock_timeout", "pg_cancel_backend"],
)
def test_a_call_cut_short_while_it_waits_wrote_nothing_and_can_be_repeated(
    connect: Connect,
    db: Connection,
    *,
    prepare: Prepare,
    asked: LiteralString,
    setting: LiteralString | None,
    sqlstate: str,
) -> None:
    with stepped(connect) as (first, second):
        prepare(first)
        before = everything(db)
        holding_the_account(first)
        if setting is not None:
            second.run("set " + setting + " = '50ms'")
        second.start(asked)
        if setting is None:
            db.execute("select pg_cancel_backend(%s)", (second.pid,))
        assert second.finish().sqlstate == sqlstate
        first.run("rollback")
        assert everything(db) == before

        # The connection is usable, and the retry is the first time.
        second.run("reset all")
        alone = second.run(asked).word
        assert alone == ("LG001" if prepare is credited else "ok")
        assert second.run(asked).word == ("LG001" if prepare is credited else "replayed")
    assert sound(db)


@pytest.mark.parametrize(("prepare", "asked"), [*BLOCKED_CALLS[:1], *BLOCKED_CALLS[2:]])
def test_a_backend_that_dies_between_posting_and_commit_wrote_nothing(
    connect: Connect, db: Connection, prepare: Prepare, asked: LiteralString
) -> None:
    with stepped(connect) as (first, second):
        prepare(first)
        before = everything(db)
        second.run("begin")
        second.run(asked)
        # Somebody else waits for the dying one, and is let go by its death.
        assert first.start(TOO_MUCH)
        db.execute("select pg_terminate_backend(%s)", (second.pid,))
        assert first.finish().word == "LG001"
        assert second.run("commit").sqlstate is not None
    assert everything(db) == before


def test_a_client_that_never_heard_of_its_commit_is_told_by_a_repeat(
    connect: Connect, db: Connection
) -> None:
    with stepped(connect) as (lost, again):
        rich(lost)
        lost.run("begin")
        posted = lost.run(SPEND).row
        # The commit is sent and the client is gone before it hears the answer.
        lost.connection.pgconn.send_query(b"commit")
        lost.connection.pgconn.finish()
        here: LiteralString = "select from pg_stat_activity where pid = %s"
        assert any(not db.execute(here, (lost.pid,)).fetchall() for _ in range(100_000))
        told = again.run(SPEND).row
    assert told == posted | {"replayed": True}
    assert credit_left(db) == 40
    assert sound(db)


# Poolers, and what a session is left with


def session_state(connection: Connection) -> dict[str, list[Row]]:
    """What a transaction-mode pooler would hand to the next client."""
    connection.prepare_threshold = None  # what the driver prepares is its own affair
    state: dict[str, LiteralString] = {
        "settings": "select name, setting from pg_settings where source = 'session' order by 1",
        "search_path": "select current_schemas(true) as path",
        "locks": """
            select locktype, mode, relation::regclass::text from pg_locks
            where pid = pg_backend_pid() and locktype in ('advisory', 'userlock')""",
        "temporary": "select relname from pg_class where relpersistence = 't' order by 1",
        "prepared": "select name from pg_prepared_statements",
        "cursors": "select name from pg_cursors where is_holdable order by 1",
        "listening": "select pg_listening_channels() as channel",
        "role": "select session_user::text, current_user::text",
    }
    return {name: connection.execute(query).fetchall() for name, query in state.items()}


CALLS_OF_ONE_CLIENT: list[tuple[LiteralString, str]] = [
    ("select * from pgledger.open_account('r0')", "ok"),
    (TOP_UP, "ok"),
    (SPEND, "ok"),
    (SPEND, "replayed"),
    ("select * from pgledger.spend('r0', 1)", "LG001"),
    (REFUSED_ROW, "LG001"),
    (ANNOUNCE, "ok"),
    (ENABLE, "ok"),
    (CANCEL, "LG007"),
    ("select * from pgledger.set_limits('r0', -5)", "ok"),
    ("select * from pgledger.set_account_status('r0', 'FROZEN')", "ok"),
    ("select * from pgledger.set_account_status('r0', 'OPEN')", "ok"),
    ("select * from pgledger.get_credits('r0')", "ok"),
    ("select * from pgledger.check_credits('r0', 1)", "ok"),
    ("select account_id from pgledger.get_balance('r0')", "ok"),
    ("select account_id from pgledger.get_transaction('r0', 'paid')", "ok"),
    ("select account_id from pgledger.history('r0')", "ok"),
    ("select reference from pgledger.usage_by_reference('r0')", "ok"),
    ("select * from pgledger.balance_at('r0', now())", "ok"),
    ("select * from pgledger.verify()", "ok"),
]


def test_one_client_over_many_connections_is_the_same_as_over_one(
    connect: Connect, db: Connection
) -> None:
    with stepped(connect, 3) as sessions:
        before = [session_state(session.connection) for session in sessions]
        told = [
            sessions[n % 3].run(statement).word
            for n, (statement, _) in enumerate(CALLS_OF_ONE_CLIENT)
        ]
        assert told == [word for _, word in CALLS_OF_ONE_CLIENT]
        assert [session_state(session.connection) for session in sessions] == before
    assert credit_left(db) == 10
    assert sound(db)


def test_session_state_would_be_seen_if_a_function_left_any(db: Connection) -> None:
    clean = session_state(db)
    traces: list[LiteralString] = [
        "set work_mem = '5MB'",
        "set search_path = pg_catalog",
        "select pg_advisory_lock(1)",
        "create temporary table left_behind ()",
        "prepare left_behind as select 1",
        "listen left_behind",
    ]
    for trace in traces:
        before = session_state(db)
        db.execute(trace)
        assert session_state(db) != before, trace
    assert session_state(db) != clean


# Locks


@pytest.mark.parametrize(
    "asked",
    [SPEND, TOP_UP, ANNOUNCE, REFUSED_ROW, FREEZE, RAISE_LIMIT, OPEN],
    ids=["spend", "top_up", "announce", "refusal", "freeze", "limits", "open"],
)
def test_a_call_waits_for_its_own_account_only(
    connect: Connect, db: Connection, asked: LiteralString
) -> None:
    db.execute("select pgledger.grant_credits('r0', 10)")
    db.execute("select pgledger.grant_credits('r1', 10)")
    db.execute("select pgledger.top_up('r1', 10, 'soon', is_active => false)")
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run("select 1 from pgledger.balances b where b.account_id <> 'r0' for update")
        first.run("select 1 from pgledger.accounts a where a.account_id <> 'r0' for update")
        first.run("select 1 from pgledger.pending_transactions for update")
        second.run(asked)
        first.run("rollback")


def test_a_reader_waits_for_nobody(connect: Connect, db: Connection) -> None:
    db.execute("select pgledger.grant_credits('r0', 10)")
    readers = [call for call, _ in CALLS_OF_ONE_CLIENT[12:]]
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(SPEND)
        first.run(ANNOUNCE)
        first.run(FREEZE)
        assert {second.run(reader).word for reader in readers} == {"ok"}
        first.run("commit")


def test_two_transactions_that_cross_deadlock_and_one_of_them_succeeds_when_repeated(
    connect: Connect, db: Connection
) -> None:
    # The order of accounts within a transaction is its caller's; the answer is never a wrong one.
    db.execute("select pgledger.grant_credits('r0', 10), pgledger.grant_credits('r1', 10)")
    other: LiteralString = "select * from pgledger.spend('r1', 10, 'spend')"
    with stepped(connect) as (first, second):
        first.run("set deadlock_timeout = '10ms'")
        second.run("set deadlock_timeout = '1h'")
        first.run("begin")
        second.run("begin")
        first.run(SPEND)
        second.run(other)
        assert second.start(SPEND)
        first.start(other)
        assert first.finish().sqlstate in RETRY
        first.run("rollback")
        assert second.finish().word == "ok"
        second.run("commit")
        assert [first.run(call).word for call in (SPEND, other)] == ["replayed", "replayed"]
    assert sound(db)


def test_an_error_of_the_connection_is_reported_as_one(connect: Connect) -> None:
    with stepped(connect) as (killer, victim):
        killer.run("select pg_terminate_backend(%s)", victim.pid)
        outcome = victim.run(SPEND)
        assert outcome.sqlstate is not None
        with pytest.raises(psycopg.OperationalError):
            _ = outcome.row
