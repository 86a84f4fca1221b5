"""Who tells of a payment at once: duplicates, the success page, the worker, and a person."""

import json
from collections.abc import Mapping
from typing import Any, LiteralString

import pytest

from tests.payments import RECORD, announce, tell
from tests.races import ROUNDS, balances, unsound, wrong_rounds
from tests.sessions import SNAPSHOT_LEVELS, Call, Connect, Connection, Outcome, begin, race, stepped
from tests.support import events, in_order, journal, pending

RECEIVE: LiteralString = "select * from pgledger.record_payment_event('test', %s, 't', '{}')"
PROCESS: LiteralString = "select * from pgledger.process_payment_event('test', %s, %s)"
ENABLE: LiteralString = "select * from pgledger.enable_transaction(%s, %s, external_id => %s)"
FAILED: LiteralString = "select * from pgledger.record_payment('test', %s, 'FAILED', %s)"
MATCH: LiteralString = "select * from pgledger.match_payment('test', %s, %s, amount => 100)"
# As a webhook does, in one statement.
WITNESS: LiteralString = """
create schema witness;
create function witness.handle(event_id text, facts jsonb) returns pgledger.payment_event
language plpgsql
as $$
begin
  perform pgledger.record_payment_event('test', $1, 't', '{}');
  return pgledger.process_payment_event('test', $1, $2);
end
$$;
"""
HANDLE: LiteralString = "select * from witness.handle(%s, %s)"


def fact(payment_id: str, account_id: str = "a", key: str = "k") -> Mapping[str, Any]:
    known = {"record": "payment", "payment_id": payment_id, "status": "SUCCEEDED"}
    return known | {"account_id": account_id, "key": key, "amount": 100, "paid": 500}


def facts(*told: Mapping[str, Any]) -> str:
    return json.dumps([dict(one) for one in told])


def kinds(db: Connection, account_id: str = "a") -> list[str]:
    return [kind for kind, _ in events(db, account_id)]


def test_a_duplicate_waits_and_is_answered_like_the_first(db: Connection, connect: Connect) -> None:
    announce(db)
    with stepped(connect) as (first, second):
        first.run("begin")
        assert first.run(RECEIVE, "e").row["is_new"]
        second.run("begin")
        assert second.start(RECEIVE, "e")
        done = first.run(PROCESS, "e", facts(fact("p"))).row
        first.run("commit")
        assert second.finish().row == done
        assert second.run(PROCESS, "e", facts(fact("q", key="l"))).row == done
        second.run("commit")
    assert journal(db) == [("TOP_UP", 100)]
    assert in_order(db)


@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_what_the_first_did_not_get_done_the_duplicate_does(
    db: Connection, connect: Connect, end: LiteralString
) -> None:
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(RECEIVE, "e")
        second.run("begin")
        assert second.start(RECEIVE, "e")
        assert first.run(PROCESS, "e", '[{"record": "charge"}]').row["status"] == "FAILED"
        first.run(end)
        row = second.finish().row
        assert (row["is_new"], row["status"]) == (
            (True, "RECEIVED") if end == "rollback" else (False, "FAILED")
        )
        assert second.run(PROCESS, "e", facts(fact("p"))).row["status"] == "PROCESSED"
        second.run("commit")
    assert journal(db) == [("TOP_UP", 100)]


def test_a_late_duplicate_waits_as_well(connect: Connect) -> None:
    with stepped(connect) as (first, second):
        first.run(RECEIVE, "e")
        first.run("begin")
        assert first.run(RECEIVE, "e").row["is_new"] is False
        assert second.start(RECEIVE, "e")
        done = first.run(PROCESS, "e", facts(fact("p"))).row
        first.run("commit")
        assert second.finish().row == done


def test_a_retry_waits_for_the_delivery_it_meets(connect: Connect) -> None:
    with stepped(connect) as (first, second):
        first.run(RECEIVE, "e")
        first.run("begin")
        done = first.run(PROCESS, "e", facts(fact("p"))).row
        assert second.start(PROCESS, "e", facts(fact("p")))
        first.run("commit")
        assert second.finish().row == done
    assert done["attempts"] == 1


def test_the_success_page_waits_for_the_webhook(db: Connection, connect: Connect) -> None:
    announce(db)
    with stepped(connect) as (webhook, page):
        webhook.run("begin")
        assert webhook.run(RECORD, "p", "a", "k").row["seq"] == 1
        assert page.start(ENABLE, "a", "k", "p")
        webhook.run("commit")
        assert page.finish().word == "replayed"
    assert journal(db) == [("TOP_UP", 100)]
    assert in_order(db)


@pytest.mark.parametrize("external_id", ["p", None])
def test_the_webhook_waits_for_the_success_page(
    db: Connection, connect: Connect, external_id: str | None
) -> None:
    announce(db)
    with stepped(connect) as (page, webhook):
        page.run("begin")
        page.run(ENABLE, "a", "k", external_id)
        assert webhook.start(RECORD, "p", "a", "k")
        page.run("commit")
        assert webhook.finish().row["seq"] == 1
    assert journal(db) == [("TOP_UP", 100)]
    assert kinds(db) == ["top_up_paid"]
    assert in_order(db)


def test_the_worker_and_the_webhook_credit_once(db: Connection, connect: Connect) -> None:
    announce(db)
    with stepped(connect) as (worker, webhook):
        worker.run("begin")
        done = worker.run(RECORD, "p", "a", "k").row
        assert webhook.start(RECORD, "p", "a", "k")
        worker.run("commit")
        assert webhook.finish().row == done
    assert kinds(db) == ["top_up_paid"]


@pytest.mark.parametrize("enabled", [False, True])
def test_of_two_payments_of_one_key_the_first_is_credited(
    db: Connection,
    connect: Connect,
    enabled: bool,  # noqa: FBT001
) -> None:
    announce(db)
    if enabled:
        db.execute(ENABLE, ["a", "k", None])
    with stepped(connect) as (first, second):
        first.run("begin")
        assert first.run(RECORD, "p", "a", "k").row["seq"] == 1
        assert second.start(RECORD, "q", "a", "k")
        first.run("commit")
        row = second.finish().row
        assert (row["status"], row["seq"], row["reason"]) == (
            "SUCCEEDED",
            None,
            "key already used",
        )
    assert journal(db) == [("TOP_UP", 100)]
    assert in_order(db)


def test_what_nobody_knows_is_told_once(db: Connection, connect: Connect) -> None:
    with stepped(connect) as (first, second):
        first.run("begin")
        first.run(RECORD, "p", None, None)
        assert second.start(RECORD, "p", None, None)
        first.run("commit")
        assert second.finish().row["reason"] == "account unknown"
    assert kinds(db, "#payments") == ["payment_unmatched"]


def test_a_repeat_waits_for_no_balance(connect: Connect, db: Connection) -> None:
    for payment_id, key in (("p", "k"), ("q", None)):
        tell(db, payment_id=payment_id, key=key, amount=100, refunded=250)
    with stepped(connect) as (user, webhook):
        user.run("begin")
        user.run("select from pgledger.balances for update")
        for payment_id, key in (("p", "k"), ("q", None)):
            assert webhook.run(RECORD, payment_id, "a", key).row["taken"] == 50
        # Nor does what failed and no top-up was announced for.
        assert webhook.run(FAILED, "r", "a").row["status"] == "FAILED"


def test_events_of_the_same_two_payments_do_not_lock_each_other_out(
    db: Connection, connect: Connect
) -> None:
    told = [fact("p", "a"), fact("q", "b")]
    for account_id in ("a", "b"):
        db.execute("select from pgledger.top_up(%s, 1)", [account_id])
    with stepped(connect, 3) as (user, first, second):
        for event_id in ("e", "f"):
            user.run(RECEIVE, event_id)
        user.run("begin")
        user.run("select from pgledger.balances for update")
        # Each has the payment it tells of first, and waits; then each would want the other's.
        assert first.start(PROCESS, "e", facts(*told))
        assert second.start(PROCESS, "f", facts(*reversed(told)))
        user.run("commit")
        for session in (first, second):
            assert session.finish().row["status"] == "PROCESSED"
    assert balances(db) == {"a": 101, "b": 101}


def test_what_is_told_of_nobodys_money_waits_for_the_balance_of_payments(
    db: Connection, connect: Connect
) -> None:
    tell(db, account_id=None, key=None)
    with stepped(connect) as (user, webhook):
        user.run("begin")
        user.run("select from pgledger.balances where account_id = '#payments' for update")
        assert webhook.start(RECORD, "q", None, None)
        user.run("commit")
        assert webhook.finish().row["reason"] == "account unknown"
    assert kinds(db, "#payments") == ["payment_unmatched"] * 2


def test_a_person_and_a_message_credit_once(db: Connection, connect: Connect) -> None:
    tell(db, account_id=None, key=None)
    with stepped(connect) as (person, webhook):
        person.run("begin")
        done = person.run(MATCH, "p", "a").row
        assert webhook.start(RECORD, "p", None, None)
        person.run("commit")
        assert webhook.finish().row == done
        webhook.run("begin")
        webhook.run(RECORD, "p", "a", None)
        assert person.start(MATCH, "p", "a")
        webhook.run("commit")
        assert person.finish().row == done
    assert journal(db) == [("TOP_UP", 100)]
    assert len(db.execute("select from pgledger.audit_log").fetchall()) == 1


@pytest.mark.parametrize("level", SNAPSHOT_LEVELS)
def test_an_older_snapshot_meets_a_conflict(
    db: Connection, connect: Connect, level: LiteralString
) -> None:
    announce(db)
    with stepped(connect, 3) as (first, second, third):
        begin(second, level)
        begin(third, level)
        first.run(RECEIVE, "e")
        first.run(PROCESS, "e", facts(fact("p")))
        assert second.run(RECEIVE, "e").word == "40001"
        assert third.run(RECORD, "p", "a", "k").word == "40001"
    assert journal(db) == [("TOP_UP", 100)]


@pytest.mark.parametrize("level", SNAPSHOT_LEVELS)
def test_a_conflict_within_a_fact_is_raised(
    db: Connection, connect: Connect, level: LiteralString
) -> None:
    announce(db)
    with stepped(connect) as (first, second):
        second.run(RECEIVE, "e")
        begin(second, level)
        first.run(ENABLE, "a", "k", "p")
        assert second.run(PROCESS, "e", facts(fact("p"))).word == "40001"
        second.run("rollback")
        assert second.run(PROCESS, "e", facts(fact("p"))).row["status"] == "PROCESSED"
    assert journal(db) == [("TOP_UP", 100)]


def test_duplicates_the_page_and_the_worker_credit_once(db: Connection, connect: Connect) -> None:
    db.execute(WITNESS)
    for number in range(ROUNDS):
        announce(db, f"k{number}", account_id=f"r{number}")

    def calls(number: int) -> list[Call]:
        account_id, key, payment_id = f"r{number}", f"k{number}", f"p{number}"
        told = facts(fact(payment_id, account_id, key))
        return [
            (HANDLE, (f"e{number}", told)),
            (HANDLE, (f"e{number}", told)),
            (ENABLE, (account_id, key, payment_id)),
            (RECORD, (payment_id, account_id, key)),
        ]

    def is_right(_: int, outcomes: list[Outcome]) -> bool:
        return all(outcome.sqlstate is None for outcome in outcomes) and (
            len({str(outcome.rows) for outcome in outcomes[:2]}) == 1
        )

    assert wrong_rounds(connect, calls, is_right) == []
    assert balances(db) == {f"r{number}": 100 for number in range(ROUNDS)}
    told = db.execute(
        "select count(*) as n, count(distinct account_id) as of from pgledger.events"
    ).fetchone()
    assert told == {"n": ROUNDS, "of": ROUNDS}
    assert pending(db, "r0") == {"k0": "ENABLED"}
    assert unsound(db) == []


def test_events_of_the_same_payments_in_another_order_do_not_lock_each_other_out(
    db: Connection, connect: Connect
) -> None:
    db.execute(WITNESS)

    def calls(number: int) -> list[Call]:
        # Each of an account of its own, so that only the payments' rows are shared.
        told = [fact(f"p{number}-{n}", f"r{number}-{n}", f"k{n}") for n in range(4)]
        return [
            (HANDLE, (f"e{number}", facts(*told))),
            (HANDLE, (f"f{number}", facts(*reversed(told)))),
        ]

    outcomes = race(connect, ROUNDS, calls)
    assert {outcome.sqlstate for round_ in outcomes for outcome in round_} == {None}
    assert set(balances(db).values()) == {100}
    assert unsound(db) == []
