"""Holds whose time passes: while somebody waits for a lock, while a call is at work, by thousands.

Time passes here as it does for users, or by moving what is recorded into the past: there is no
clock that a test could set.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import LiteralString

import pytest

from tests.races import unsound
from tests.sessions import Connect, Connection, Row, stepped

EXPIRED_BEFORE = 10_000
CLOSED_BY_ONE_CALL = 100

SPEND: LiteralString = "select * from pgledger.spend('r0', 1)"
LOCK: LiteralString = "select 1 from pgledger.balances where account_id = 'r0' for update"
# As the clock does it, but now: the hold's instant comes while somebody else holds the lock.
EXPIRE: LiteralString = """
with moved as (
  update pgledger.pending_transactions set expires_at = clock_timestamp()
  where account_id = 'r0' and status = 'PENDING'
  returning expires_at
)
update pgledger.balances b set attention_at = m.expires_at
from moved m
where b.account_id = 'r0'
"""

# Each of them waits for the lock of the balance row: the first by its guarded update.
SETTLING: list[LiteralString] = [
    "select * from pgledger.capture('r0', 'h')",
    "select * from pgledger.capture('r0', 'h', 60)",
    "select * from pgledger.capture('r0', 'h', 20, metadata => '{}')",
    "select * from pgledger.enable_transaction('r0', 'h')",
    "select * from pgledger.release('r0', 'h')",
    "select * from pgledger.cancel_transaction('r0', 'h')",
]


def one(db: Connection, query: LiteralString, *arguments: object) -> Row:
    (row,) = db.execute(query, arguments).fetchall()
    return row


def with_a_hold(db: Connection, *, for_how_long: str = "1 hour") -> None:
    db.execute("select pgledger.grant_credits('r0', 100)")
    db.execute(
        "select pgledger.hold('r0', 60, 'h', clock_timestamp() + %s::interval)", (for_how_long,)
    )


def with_expired_holds(db: Connection, count: int) -> None:
    """An account with 20 credits more than its holds of 1 each, all of which expired just now."""
    db.execute("select pgledger.grant_credits('r0', %s)", (count + 20,))
    db.execute("select pgledger.hold('r0', 1, 'open')")
    db.execute(
        """
        select pgledger.hold('r0', 1, 'h' || n, clock_timestamp() + interval '1 day')
        from generate_series(1, %s) n
        """,
        (count,),
    )
    db.execute(
        """
        update pgledger.pending_transactions set expires_at = expires_at - interval '1 day'
        where account_id = 'r0'
        """
    )
    db.execute(
        """
        update pgledger.balances set attention_at = attention_at - interval '1 day'
        where account_id = 'r0'
        """
    )


def statuses(db: Connection) -> Counter[str]:
    found = db.execute("select status::text from pgledger.pending_transactions").fetchall()
    return Counter(row["status"] for row in found)


# While a call waits


@pytest.mark.parametrize("settle", SETTLING)
def test_what_waited_past_the_expiry_of_its_hold_is_judged_by_the_clock_under_the_lock(
    connect: Connect, db: Connection, settle: LiteralString
) -> None:
    with_a_hold(db)
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(LOCK)
        assert second.start(settle), "the call did not wait for the lock"
        first.run(EXPIRE)
        first.run("commit")
        # From here on everybody sees these credits free, whatever still waits.
        assert one(db, "select pgledger.get_credits('r0') as credits") == {"credits": 100}
        refused = second.finish()
    assert refused.word == "LG007"
    assert refused.error is not None
    assert json.loads(refused.error.diag.message_detail or "")["status"] == "EXPIRED"
    assert one(db, "select pgledger.get_credits('r0') as credits") == {"credits": 100}
    assert one(db, "select status from pgledger.get_transaction('r0', 'h')")["status"] == "EXPIRED"
    assert unsound(db) == []


@pytest.mark.parametrize("settle", SETTLING[:3])
def test_a_hold_whose_time_ran_out_while_its_capture_waited_is_not_captured(
    connect: Connect, db: Connection, settle: LiteralString
) -> None:
    with_a_hold(db, for_how_long="400 ms")
    has_expired: LiteralString = """
        select expires_at <= clock_timestamp() as expired from pgledger.pending_transactions"""
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(LOCK)
        # On a machine so slow that the time is over already, it is refused without a wait.
        second.start(settle)
        while not first.run(has_expired).row["expired"]:
            pass
        first.run("commit")
        assert second.finish().word == "LG007"
    assert one(db, "select pgledger.get_credits('r0') as credits") == {"credits": 100}
    assert unsound(db) == []


@pytest.mark.parametrize("settle", SETTLING[:3])
def test_a_capture_that_waited_but_not_past_the_expiry_is_one(
    connect: Connect, db: Connection, settle: LiteralString
) -> None:
    with_a_hold(db)
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(LOCK)
        assert second.start(settle)
        first.run("commit")
        assert second.finish().word == "ok"
    assert unsound(db) == []


# While a call is at work

AT_EXPIRY = """
create function pg_temp.settle_at_expiry(settle text, rounds int) returns int
language plpgsql
as $$
declare
  v_wrong int := 0;
begin
  for v_round in 1..rounds loop
    begin
      perform pgledger.hold('r0', 1, settle || v_round,
        clock_timestamp() + (v_round % 150) * interval '1 microsecond');
      execute format(settle, settle || v_round);
    exception when sqlstate 'LG007' or invalid_parameter_value then
      null;
    end;
    update pgledger.balances b
    set held = p.held
    from (
      select coalesce(sum(-p.amount), 0) as held
      from pgledger.pending_transactions p
      where p.account_id = 'r0' and p.status = 'PENDING'
    ) p
    where b.account_id = 'r0' and b.held <> p.held;
    v_wrong := v_wrong + found::int;
  end loop;
  return v_wrong;
end
$$;
"""


@pytest.mark.parametrize(
    "settle",
    [
        "select pgledger.capture('r0', %L)",
        "select pgledger.capture('r0', %L, metadata => '{}')",
        "select pgledger.release('r0', %L)",
    ],
    ids=["capture", "capture slowly", "release"],
)
def test_a_hold_that_expires_while_it_is_settled_gives_its_credits_back_once(
    db: Connection, settle: str
) -> None:
    # The hold expires between any two statements of the call, somewhere in these rounds.
    db.execute(AT_EXPIRY)
    db.execute("select pgledger.grant_credits('r0', 1000)")
    wrong = one(db, "select pg_temp.settle_at_expiry(%s, 1500) as rounds", settle)
    assert wrong == {"rounds": 0}
    assert unsound(db) == []


# By thousands


def calls_of(db: Connection, function: str) -> int:
    found = db.execute(
        """
        select calls from pg_stat_user_functions
        where schemaname = 'pgledger' and funcname = %s
        """,
        (function,),
    ).fetchall()
    return sum(row["calls"] for row in found)


def spend_and_count_slow_ones(connect: Connect, db: Connection, times: int) -> int:
    """How many of so many spends of 1 took the slow path, by the server's own count."""
    spends, slow = calls_of(db, "spend"), calls_of(db, "_post_under_lock")
    counted = connect(options="-c track_functions=all")
    for _ in range(times):
        assert counted.execute(SPEND).fetchall()[0]["status"] == "POSTED"
    counted.close()
    # The session hands in its counts, all at once, when it ends.
    while calls_of(db, "spend") < spends + times:
        pass
    return calls_of(db, "_post_under_lock") - slow


def test_a_spend_with_10000_expired_holds_behind_it_closes_some_and_then_none(
    connect: Connect, db: Connection
) -> None:
    with_expired_holds(db, EXPIRED_BEFORE)
    assert one(db, "select pgledger.get_credits('r0') as credits") == {
        "credits": EXPIRED_BEFORE + 19
    }
    # What expired reserves nothing, long before the last of it is closed.
    most = one(db, "select * from pgledger.spend('r0', %s)", EXPIRED_BEFORE - 1000)
    assert (most["status"], most["available"]) == ("POSTED", 1019)
    assert statuses(db)["EXPIRED"] == CLOSED_BY_ONE_CALL

    left = EXPIRED_BEFORE // CLOSED_BY_ONE_CALL - 1
    assert spend_and_count_slow_ones(connect, db, left) == left
    assert statuses(db) == {"EXPIRED": EXPIRED_BEFORE, "PENDING": 1}
    assert unsound(db) == []

    assert spend_and_count_slow_ones(connect, db, 5) == 0
    assert one(db, "select count(*) from pgledger.events")["count"] == EXPIRED_BEFORE
    assert unsound(db) == []


@pytest.mark.parametrize(
    "call",
    [
        "select * from pgledger.spend('r0', 170)",
        "select * from pgledger.spend('r0', 999, raise_refusals => false)",
        "select * from pgledger.top_up('r0', 1)",
        "select * from pgledger.hold('r0', 170)",
        "select * from pgledger.capture('r0', 'open')",
        "select * from pgledger.release('r0', 'open')",
        "select * from pgledger.release('r0', 'h1', raise_refusals => false)",
        "select * from pgledger.transfer('r0', 'r1', 170)",
        "select * from pgledger.transfer('r0', 'r1', 999, raise_refusals => false)",
        "select * from pgledger.reverse_transaction('r0', '#1')",
        "select * from pgledger.check_auto_top_up('r0')",
        "select * from pgledger.set_limits('r0', -5)",
        "select * from pgledger.set_auto_top_up('r0', 5, 5)",
        "select * from pgledger.set_account_status('r0', 'FROZEN')",
        "select pgledger.run_due()",
    ],
)
def test_no_call_closes_more_than_100_expired_holds(db: Connection, call: LiteralString) -> None:
    with_expired_holds(db, 250)
    db.execute("select pgledger.open_account('r1')")
    db.execute(call)
    assert statuses(db)["EXPIRED"] == CLOSED_BY_ONE_CALL
    assert unsound(db) == []


def test_a_top_up_is_asked_for_by_what_is_available_while_expired_holds_wait_to_be_closed(
    db: Connection,
) -> None:
    with_expired_holds(db, 250)
    db.execute("select pgledger.set_auto_top_up('r0', 30, 500)")
    # 269 are available, whatever of the holds is closed: 29 are left, and none is counted twice.
    assert one(db, "select * from pgledger.spend('r0', 240)")["available"] == 29
    assert one(db, "select * from pgledger.get_auto_top_up('r0')")["waiting_for"] == "#auto-1"
    assert unsound(db) == []


def test_an_account_is_closed_while_expired_holds_wait_to_be_closed(db: Connection) -> None:
    with_expired_holds(db, 350)
    db.execute("select pgledger.release('r0', 'open')")
    db.execute("select pgledger.spend('r0', 370)")
    db.execute("select pgledger.set_account_status('r0', 'CLOSED')")
    assert unsound(db) == []
    while one(db, "select pgledger.run_due() as settled")["settled"]:
        pass
    assert statuses(db) == {"EXPIRED": 350, "CANCELLED": 1}
    assert unsound(db) == []


# What the clock itself does


@pytest.mark.parametrize(
    "read",
    [
        lambda db: one(db, "select pgledger.get_credits('r0') as n")["n"],
        lambda db: one(db, "select available from pgledger.get_balance('r0')")["available"],
        lambda db: 100 if one(db, "select pgledger.check_credits('r0', 100) as c")["c"] else 40,
    ],
    ids=["get_credits", "get_balance", "check_credits"],
)
def test_readers_see_the_credits_of_a_hold_free_from_its_expiry_on(
    db: Connection, read: Callable[[Connection], int]
) -> None:
    with_a_hold(db)
    assert read(db) == 40
    db.execute(EXPIRE)
    assert read(db) == 100
    assert statuses(db) == {"PENDING": 1}
    assert unsound(db) == []
