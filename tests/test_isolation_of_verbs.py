"""Holds, refunds, reversals, transfers and auto-top-ups at every isolation level.

As in test_isolation: a conflict surfaces as 40001, never as a wrong refusal or a second effect.
"""

from typing import LiteralString

import pytest

from tests.races import unsound
from tests.sessions import (
    LEVELS,
    RETRY,
    SNAPSHOT_LEVELS,
    Connect,
    Connection,
    Session,
    begin,
    stepped,
)

# What there is before.
EMPTY: list[LiteralString] = []
RICH: list[LiteralString] = ["select pgledger.grant_credits('r0', 50)"]
CREDITED: list[LiteralString] = ["select pgledger.grant_credits('r0', 5)"]
JUST_COVERED: list[LiteralString] = ["select pgledger.grant_credits('r0', 10)"]
HELD: list[LiteralString] = [*RICH, "select pgledger.hold('r0', 45, 'h')"]
DUE: list[LiteralString] = [
    *RICH,
    "select pgledger.hold('r0', 45, 'h', clock_timestamp() + interval '1 hour')",
    "update pgledger.pending_transactions set expires_at = expires_at - interval '1 hour'",
    "update pgledger.balances set attention_at = attention_at - interval '1 hour'",
]
PAID: list[LiteralString] = ["select pgledger.top_up('r0', 50, 'paid')"]
SPENT: list[LiteralString] = [*RICH, "select pgledger.spend('r0', 20, 'u')"]
TWO: list[LiteralString] = [*RICH, "select pgledger.grant_credits('r1', 50)"]
ARMED: list[LiteralString] = [*RICH, "select pgledger.set_auto_top_up('r0', 45, 10)"]
PRICED: list[LiteralString] = [*RICH, """select pgledger.set_price('m', '{"in": 1}')"""]
JUST_PRICED: list[LiteralString] = [*JUST_COVERED, *PRICED[1:]]
HELD_30: list[LiteralString] = [
    *PRICED,
    """select pgledger.hold_usage('r0', 'm', '{"in": 30}', 'h')""",
]
ASKED: list[LiteralString] = [*ARMED, "select pgledger.spend('r0', 10)"]

SPEND: LiteralString = "select * from pgledger.spend('r0', 10)"
TOP_UP: LiteralString = "select * from pgledger.top_up('r0', 10)"
HOLD: LiteralString = "select * from pgledger.hold('r0', 10, 'h')"
CAPTURE: LiteralString = "select * from pgledger.capture('r0', 'h')"
CAPTURE_5: LiteralString = "select * from pgledger.capture('r0', 'h', 5)"
CAPTURE_6: LiteralString = "select * from pgledger.capture('r0', 'h', 6)"
RELEASE: LiteralString = "select * from pgledger.release('r0', 'h')"
PAY: LiteralString = "select * from pgledger.top_up('r0', 50, 'paid')"
REFUND: LiteralString = "select * from pgledger.refund('r0', 'paid', 30, 'ra')"
REFUND_ALL: LiteralString = "select * from pgledger.refund('r0', 'paid')"
REFUND_MORE: LiteralString = "select * from pgledger.refund('r0', 'paid', 30, 'rb')"
DISPUTE: LiteralString = """
select * from pgledger.refund(
  'r0', 'paid', 50, external_id => 'dp_1', fail_insufficient_credits => false)"""
USE: LiteralString = "select * from pgledger.spend('r0', 20, 'u')"
REVERSE: LiteralString = "select * from pgledger.reverse_transaction('r0', 'u', 15, 'a')"
REVERSE_MORE: LiteralString = "select * from pgledger.reverse_transaction('r0', 'u', 15, 'b')"
TRANSFER: LiteralString = "select * from pgledger.transfer('r0', 'r1', 10, 'k')"
BACK: LiteralString = "select * from pgledger.transfer('r1', 'r0', 60, 'back')"
OPEN_R1: LiteralString = "select * from pgledger.open_account('r1')"
USE_10: LiteralString = """select * from pgledger.spend_usage('r0', 'm', '{"in": 10}', 'u')"""
USE_11: LiteralString = """select * from pgledger.spend_usage('r0', 'm', '{"in": 11}', 'u')"""
USE_FREE: LiteralString = """select * from pgledger.spend_usage('r0', 'm', '{"in": 0}', 'u')"""
HOLD_10: LiteralString = """select * from pgledger.hold_usage('r0', 'm', '{"in": 10}', 'h')"""
USED_0: LiteralString = """select * from pgledger.capture_usage('r0', 'h', '{"in": 0}')"""
USED_20: LiteralString = """select * from pgledger.capture_usage('r0', 'h', '{"in": 20}')"""
USED_45: LiteralString = """select * from pgledger.capture_usage('r0', 'h', '{"in": 45}')"""
FREEZE: LiteralString = "select * from pgledger.set_account_status('r0', 'FROZEN')"
ARM: LiteralString = "select * from pgledger.set_auto_top_up('r0', 45, 10)"
CHECK: LiteralString = "select * from pgledger.check_auto_top_up('r0')"
ENABLE: LiteralString = "select * from pgledger.enable_transaction('r0', '#auto-1')"
CANCEL: LiteralString = "select * from pgledger.cancel_transaction('r0', '#auto-1')"
WATCH: LiteralString = "select * from pgledger.set_low_balance_level('r0', 45)"

# (what was there, what the other session does, what this one asks, what it is told once both are
# known), as in test_isolation.
RACES = [
    pytest.param(CREDITED, TOP_UP, HOLD, "ok", id="hold after a top-up"),
    pytest.param(EMPTY, TOP_UP, HOLD, "ok", id="hold after the first top-up"),
    pytest.param(RICH, HOLD, HOLD, "replayed", id="repeat of a hold"),
    pytest.param(JUST_COVERED, HOLD, HOLD, "replayed", id="repeat of the last hold"),
    pytest.param(JUST_COVERED, HOLD, SPEND, "LG001", id="spend of what was held"),
    pytest.param(JUST_COVERED, SPEND, HOLD, "LG001", id="hold of what was spent"),
    pytest.param(RICH, HOLD, CAPTURE, "ok", id="capture after the hold"),
    pytest.param(RICH, HOLD, RELEASE, "ok", id="release after the hold"),
    pytest.param(HELD, CAPTURE, CAPTURE, "replayed", id="two captures"),
    pytest.param(HELD, CAPTURE_5, CAPTURE_6, "LG002", id="two amounts"),
    pytest.param(HELD, CAPTURE, RELEASE, "LG007", id="release after capture"),
    pytest.param(HELD, RELEASE, CAPTURE, "LG007", id="capture after release"),
    pytest.param(HELD, RELEASE, RELEASE, "replayed", id="two releases"),
    pytest.param(HELD, RELEASE, SPEND, "ok", id="spend of what was released"),
    pytest.param(HELD, CAPTURE_5, SPEND, "ok", id="spend of what a capture left"),
    pytest.param(DUE, SPEND, CAPTURE, "LG007", id="capture of what a spend closed"),
    pytest.param(DUE, SPEND, RELEASE, "LG007", id="release of what a spend closed"),
    pytest.param(DUE, SPEND, SPEND, "ok", id="two spends of what expired"),
    pytest.param(HELD, FREEZE, CAPTURE, "ok", id="capture after a freeze"),
    pytest.param(RICH, FREEZE, HOLD, "LG004", id="hold after a freeze"),
    pytest.param(EMPTY, PAY, REFUND, "ok", id="refund after the payment"),
    pytest.param(PAID, REFUND, REFUND, "replayed", id="repeat of a refund"),
    pytest.param(PAID, REFUND, REFUND_MORE, "LG009", id="refunds above the payment"),
    pytest.param(PAID, REFUND, REFUND_ALL, "ok", id="refund of what another left"),
    pytest.param(PAID, DISPUTE, REFUND, "LG009", id="refund after a dispute"),
    pytest.param(PAID, REFUND, DISPUTE, "LG009", id="dispute after a refund"),
    pytest.param(PAID, DISPUTE, DISPUTE, "replayed", id="repeat of a dispute"),
    pytest.param(PAID, SPEND, REFUND_ALL, "LG001", id="refund of what was spent"),
    pytest.param(PAID, SPEND, DISPUTE, "ok", id="dispute of what was spent"),
    pytest.param(RICH, USE, REVERSE, "ok", id="reversal after the spend"),
    pytest.param(SPENT, REVERSE, REVERSE, "replayed", id="repeat of a reversal"),
    pytest.param(SPENT, REVERSE, REVERSE_MORE, "LG009", id="reversals above the spend"),
    pytest.param(TWO, TRANSFER, TRANSFER, "replayed", id="repeat of a transfer"),
    pytest.param(TWO, TRANSFER, BACK, "ok", id="transfer of what came"),
    pytest.param(RICH, OPEN_R1, TRANSFER, "ok", id="transfer to a new account"),
    pytest.param([OPEN_R1], TOP_UP, TRANSFER, "ok", id="transfer after the first top-up"),
    pytest.param(TWO, FREEZE, TRANSFER, "LG004", id="transfer after a freeze"),
    pytest.param(ARMED, SPEND, SPEND, "ok", id="two spends below the threshold"),
    pytest.param(ARMED, SPEND, CHECK, "replayed", id="check after a spend asked"),
    pytest.param(ARMED, HOLD, SPEND, "ok", id="hold and spend below the threshold"),
    pytest.param(ASKED, CANCEL, CHECK, "ok", id="check after the intent was cancelled"),
    pytest.param(ASKED, CANCEL, SPEND, "ok", id="spend after the intent was cancelled"),
    pytest.param(ASKED, ENABLE, ENABLE, "replayed", id="two enables of an intent"),
    pytest.param(ASKED, ENABLE, SPEND, "ok", id="spend after the intent was enabled"),
    pytest.param(ASKED, SPEND, ENABLE, "ok", id="enable after one more spend"),
    pytest.param(CREDITED, ARM, CHECK, "ok", id="check after it was set"),
    pytest.param(RICH, ARM, SPEND, "ok", id="spend after it was set"),
    pytest.param(RICH, WATCH, SPEND, "ok", id="spend after a level was set"),
    pytest.param(PRICED, USE_10, USE_10, "replayed", id="repeat of usage"),
    pytest.param(PRICED, USE_10, USE_11, "LG002", id="two usages"),
    pytest.param(PRICED, USE_FREE, USE_FREE, "replayed", id="repeat of what cost nothing"),
    pytest.param(PRICED, USE_10, USE_FREE, "LG002", id="what cost something and nothing"),
    pytest.param(JUST_PRICED, SPEND, USE_10, "LG001", id="usage of what was spent"),
    pytest.param(JUST_PRICED, HOLD_10, HOLD_10, "replayed", id="repeat of a hold of usage"),
    pytest.param(JUST_PRICED, HOLD_10, USED_20, "LG001", id="more usage than was held"),
    pytest.param(HELD_30, USED_20, USED_20, "replayed", id="two captures of usage"),
    pytest.param(HELD_30, USED_45, USED_45, "replayed", id="two captures above the hold"),
    pytest.param(HELD_30, USED_45, USED_20, "LG002", id="captures of two usages"),
    pytest.param(HELD_30, SPEND, USED_45, "LG001", id="usage above the hold that was spent"),
    pytest.param(HELD_30, USED_45, SPEND, "LG001", id="spend of what was above the hold"),
    pytest.param(HELD_30, USED_0, USED_0, "replayed", id="two captures of nothing"),
    pytest.param(HELD_30, RELEASE, USED_0, "LG007", id="capture of nothing after release"),
    pytest.param(HELD_30, USED_20, RELEASE, "LG007", id="release after a capture of usage"),
]


def prepare(session: Session, before: list[LiteralString]) -> None:
    for statement in before:
        assert session.run(statement).word == "ok"


def asked_and_told(db: Connection) -> tuple[int, int]:
    """How many intents wait, and how many events there are for every account and cause."""
    (row,) = db.execute(
        """
        select
          (select count(*) from pgledger.pending_transactions
            where status = 'PENDING' and key like '#auto-%'),
          coalesce((
            select max(n) from (
              select count(*) as n from pgledger.events
              group by account_id, kind, payload ->> 'key') e), 0) as told
        """
    ).fetchall()
    return row["count"], row["told"]


@pytest.mark.parametrize(
    ("level", "in_flight"),
    [
        pytest.param("read committed", True, id="read committed"),
        pytest.param("repeatable read", False, id="repeatable read, after the snapshot"),
        pytest.param("serializable", True, id="serializable"),
    ],
)
@pytest.mark.parametrize(("before", "other", "asked", "right"), RACES)
def test_a_conflict_is_a_conflict_and_never_a_wrong_answer(
    connect: Connect,
    db: Connection,
    *,
    before: list[LiteralString],
    other: LiteralString,
    asked: LiteralString,
    right: str,
    level: LiteralString,
    in_flight: bool,
) -> None:
    with stepped(connect) as (first, second):
        prepare(first, before)
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
    waiting, told_times = asked_and_told(db)
    assert (waiting <= 1, told_times <= 1) == (True, True)
    assert unsound(db) == []


@pytest.mark.parametrize("level", LEVELS)
def test_a_whole_life_of_holds_and_transfers_is_the_same_at_every_level(
    connect: Connect, db: Connection, level: LiteralString
) -> None:
    script: list[tuple[LiteralString, str]] = [
        (HOLD, "LG001"),
        (CAPTURE, "LG006"),
        (PAY, "ok"),
        (HOLD, "ok"),
        (HOLD, "replayed"),
        (CAPTURE_5, "ok"),
        (CAPTURE_5, "replayed"),
        (CAPTURE_6, "LG002"),
        (RELEASE, "LG007"),
        (TRANSFER, "LG003"),
        (OPEN_R1, "ok"),
        (TRANSFER, "ok"),
        (TRANSFER, "replayed"),
        (USE, "ok"),
        (REVERSE, "ok"),
        (REVERSE, "replayed"),
        (REVERSE_MORE, "LG009"),
        (REFUND, "ok"),
        (REFUND_MORE, "LG009"),
        (DISPUTE, "LG009"),
        (ARM, "ok"),
        (CHECK, "ok"),
        (CHECK, "replayed"),
        (ENABLE, "ok"),
        (ENABLE, "replayed"),
        (CANCEL, "LG007"),
    ]
    told = []
    with stepped(connect, 1) as (caller,):
        for statement, _ in script:
            begin(caller, level)
            told.append(caller.run(statement).word)
            caller.run("commit")
    assert told == [word for _, word in script]
    assert unsound(db) == []


@pytest.mark.parametrize("level", SNAPSHOT_LEVELS)
@pytest.mark.parametrize(
    ("before", "call"),
    [
        ([*DUE, SPEND], "select * from pgledger.claim_events()"),
        (DUE, "select nullif(pgledger.run_due(), 0) as settled"),
    ],
    ids=["claim_events", "run_due"],
)
@pytest.mark.parametrize("in_flight", [True, False], ids=["in flight", "after the snapshot"])
def test_a_housekeeper_of_an_older_snapshot_leaves_what_another_one_took(
    connect: Connect,
    db: Connection,
    *,
    level: LiteralString,
    before: list[LiteralString],
    call: LiteralString,
    in_flight: bool,
) -> None:
    with stepped(connect) as (first, second):
        prepare(first, before)
        begin(second, level)
        first.run("begin")
        assert [value for row in first.run(call).rows for value in row.values()][:1] != [None]
        if not in_flight:
            first.run("commit")
        told = second.run(call)
        if in_flight:
            # What is locked is somebody else's.
            assert {value for row in told.rows for value in row.values()} <= {None}
        else:
            assert told.word in RETRY
        first.run("commit")
        second.run("commit")
    assert unsound(db) == []
