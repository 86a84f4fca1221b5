"""The outbox: claim_events, ack_events, list_events, and NOTIFY."""

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

import pytest

from tests.sessions import Connect
from tests.support import (
    Ledger,
    ask,
    ask_all,
    events,
    everything,
    in_order,
    let_expire,
    refused,
)


def cause(db: Ledger, *account_ids: str) -> None:
    """Freeze accounts, each of which is an event."""
    for account_id in account_ids:
        ask(db, "open_account", account_id=account_id)
        for status in ("OPEN", "FROZEN"):
            ask(db, "set_account_status", account_id=account_id, status=status)


def claim(db: Ledger, **given: object) -> list[tuple[str, int]]:
    return [(row["account_id"], row["seq"]) for row in ask_all(db, "claim_events", **given)]


def ack(db: Ledger, *claimed: tuple[str, int]) -> int:
    found = db.execute(
        "select pgledger.ack_events(%s::text[], %s::bigint[]) as n",
        [[account_id for account_id, _ in claimed], [seq for _, seq in claimed]],
    ).fetchone()
    assert found
    return found["n"]  # type: ignore[no-any-return]


def refused_ack(db: Ledger, account_ids: object, seqs: object, sqlstate: str) -> dict[str, Any]:
    with pytest.raises(Exception, match="invalid") as caught:
        db.execute("select pgledger.ack_events(%s::text[], %s::bigint[])", [account_ids, seqs])
    assert getattr(caught.value, "sqlstate", None) == sqlstate
    details = json.loads(caught.value.diag.message_detail)  # type: ignore[attr-defined]
    assert caught.value.diag.message_hint  # type: ignore[attr-defined]
    assert isinstance(details, dict)
    return details


def later(db: Ledger) -> None:
    """Let every visibility timeout be over."""
    db.execute("update pgledger.events set visible_at = clock_timestamp()")


def test_every_kind_is_written_with_what_happened(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "set_low_balance_level", account_id="a", level=50)
    ask(db, "set_auto_top_up", account_id="a", threshold=20, amount=200)
    given = {"account_id": "a", "reference": "chat"}
    ask(db, "hold", **given, amount=10, key="h", expires_at="2200-01-01")
    let_expire(db)
    expired_at = ask(db, "get_transaction", account_id="a", key="h")["expires_at"]
    ask(db, "spend", **given, amount=60, key="k")
    ask(db, "hold", **given, amount=25, key="l")
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    said = events(db)
    assert said[0][1].pop("expired_at") == f"{expired_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    assert said == [
        ("hold_expired", {"key": "h", "amount": 10, "reference": "chat"}),
        ("low_balance", {"available": 40, "level": 50, "key": "k", "reference": "chat"}),
        (
            "top_up_requested",
            {
                "key": "#auto-1",
                "amount": 200,
                "available": 15,
                "threshold": 20,
                "reference": "chat",
            },
        ),
        ("account_frozen", {}),
    ]
    assert [row["seq"] for row in ask_all(db, "list_events", account_id="a")] == [4, 3, 2, 1]
    assert in_order(db)


def test_freezing_is_told_once(db: Ledger) -> None:
    cause(db, "a")
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    assert events(db) == [("account_frozen", {})]
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    assert len(events(db)) == 2


def test_a_claim_tells_all_of_an_event(db: Ledger) -> None:
    cause(db, "a")
    (row,) = ask_all(db, "claim_events")
    assert row.pop("created_at") is not None
    assert row == {
        "account_id": "a",
        "seq": 1,
        "kind": "account_frozen",
        "payload": {},
        "deliveries": 1,
    }


def test_the_events_of_an_account_are_handed_out_together_and_in_order(db: Ledger) -> None:
    cause(db, "a", "b", "a", "a", "b")
    assert claim(db, limit_count=4) == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert claim(db) == []
    ack(db, ("b", 1))
    assert claim(db) == [("b", 2)]


def test_what_is_not_acknowledged_holds_back_what_follows_in_its_account_only(db: Ledger) -> None:
    cause(db, "a", "a", "b", "b")
    assert claim(db, limit_count=3) == [("a", 1), ("a", 2), ("b", 1)]
    ack(db, ("a", 1), ("b", 1))
    cause(db, "a", "c")
    assert sorted(claim(db)) == [("b", 2), ("c", 1)]
    later(db)
    ack(db, ("b", 2), ("c", 1))
    assert claim(db) == [("a", 2), ("a", 3)]


def test_a_backlog_of_one_account_starves_nobody(db: Ledger) -> None:
    cause(db, "a", "b")
    db.execute(
        """
        insert into pgledger.events (account_id, seq, kind, payload, created_at, visible_at)
        select 'a', n, 'low_balance', '{}', '2020-01-01', '2020-01-01'
        from generate_series(2, 20000) n
        """
    )
    assert len(claim(db)) == 100
    assert claim(db) == [("b", 1)]


def test_what_nobody_acknowledged_is_handed_out_again_after_its_timeout(db: Ledger) -> None:
    cause(db, "a")
    for deliveries in (1, 2, 3):
        (row,) = ask_all(db, "claim_events", visibility_timeout="1 day")
        assert (row["seq"], row["deliveries"]) == (1, deliveries)
        assert claim(db) == []
        kept = db.execute(
            "select visible_at - clock_timestamp() between '23:59' and '24:00' as for_a_day"
            " from pgledger.events"
        ).fetchone()
        assert kept == {"for_a_day": True}
        later(db)
    assert ack(db, ("a", 1)) == 1
    later(db)
    assert claim(db) == []


def test_the_timeout_is_a_minute_unless_told(db: Ledger) -> None:
    cause(db, "a")
    claim(db)
    kept = db.execute(
        "select visible_at - clock_timestamp() between '59 s' and '60 s' as for_a_minute"
        " from pgledger.events"
    ).fetchone()
    assert kept == {"for_a_minute": True}


def test_a_late_acknowledgement_counts_once(db: Ledger) -> None:
    cause(db, "a", "a")
    claim(db)
    later(db)
    claim(db)
    assert ack(db, ("a", 1)) == 1
    before = everything(db)
    assert ack(db, ("a", 1)) == 0
    assert everything(db) == before
    assert claim(db) == []
    later(db)
    assert claim(db) == [("a", 2)]


def test_a_claim_is_as_large_as_told_and_the_longest_waiting_come_first(db: Ledger) -> None:
    cause(db, "c", "a", "b")
    assert claim(db, limit_count=2) == [("c", 1), ("a", 1)]
    assert claim(db, limit_count=2) == [("b", 1)]
    assert claim(db, limit_count=2) == []
    later(db)
    assert len(claim(db, limit_count=10_000)) == 3


def test_claims_at_the_same_time_share_and_wait_for_nobody(db: Ledger, connect: Connect) -> None:
    cause(db, "a", "b", "c")
    db.execute("set lock_timeout = '100ms'")
    with connect(autocommit=False) as other:
        mine = claim(other, limit_count=2)
        assert mine == [("a", 1), ("b", 1)]
        assert claim(db) == [("c", 1)]
        other.rollback()
    assert claim(db) == mine


def test_a_claim_that_is_rolled_back_was_none(db: Ledger) -> None:
    cause(db, "a")
    before = everything(db)
    with db.transaction(force_rollback=True):
        claim(db)
    assert everything(db) == before


def test_what_is_unknown_is_not_acknowledged(db: Ledger) -> None:
    cause(db, "a", "b")
    assert ack(db, ("a", 2), ("nobody", 1), ("b", 0), ("", -1)) == 0
    assert ack(db) == 0
    assert ack(db, ("b", 1), ("a", 1), ("a", 1)) == 2
    assert claim(db) == []


@pytest.mark.parametrize(
    ("account_ids", "seqs", "sqlstate", "parameter"),
    [
        (["a"], [1, 2], "22023", "seqs"),
        (["a", "b"], [1], "22023", "seqs"),
        ([], [1], "22023", "seqs"),
        (["a"], None, "22004", "seqs"),
        (None, [1], "22004", "account_ids"),
        (None, None, "22004", "account_ids"),
        (["a", None], [1, 1], "22004", "account_ids"),
        (["a", "b"], [1, None], "22004", "seqs"),
    ],
)
def test_an_acknowledgement_names_each_event(
    db: Ledger,
    account_ids: Sequence[str | None] | None,
    seqs: Sequence[int | None] | None,
    *,
    sqlstate: str,
    parameter: str,
) -> None:
    cause(db, "a", "b")
    before = everything(db)
    details = refused_ack(db, account_ids, seqs, sqlstate)
    assert details["parameter"] == parameter
    assert everything(db) == before


@pytest.mark.parametrize("visibility_timeout", [None, "0", "-1 s", "25 h", "1 month"])
def test_a_visibility_timeout_is_at_most_a_day(db: Ledger, visibility_timeout: str | None) -> None:
    cause(db, "a")
    code = "22004" if visibility_timeout is None else "22023"
    details = refused(db, code, "claim_events", visibility_timeout=visibility_timeout)
    assert details["parameter"] == "visibility_timeout"
    assert claim(db, visibility_timeout="1 microsecond") == [("a", 1)]


@pytest.mark.parametrize("limit_count", [None, 0, -1, 10_001])
def test_a_limit_is_one_to_ten_thousand(db: Ledger, limit_count: int | None) -> None:
    code = "22004" if limit_count is None else "22023"
    for function in ("claim_events", "list_events", "run_due"):
        details = refused(db, code, function, limit_count=limit_count)
        assert details["parameter"] == "limit_count"


def test_the_list_takes_nothing_from_those_who_claim(db: Ledger) -> None:
    cause(db, "a", "b", "a")
    before = everything(db)
    assert [(row["account_id"], row["seq"]) for row in ask_all(db, "list_events")] == [
        ("a", 2),
        ("b", 1),
        ("a", 1),
    ]
    assert everything(db) == before
    assert len(ask_all(db, "list_events", limit_count=2)) == 2
    assert [row["seq"] for row in ask_all(db, "list_events", account_id="b")] == [1]
    assert ask_all(db, "list_events", account_id="nobody") == []
    ack(db, *claim(db, limit_count=1))
    listed = {(row["account_id"], row["seq"]): row for row in ask_all(db, "list_events")}
    assert listed[("a", 1)]["acked_at"] is not None
    assert (listed[("a", 2)]["acked_at"], listed[("a", 2)]["deliveries"]) == (None, 0)


def test_an_event_is_rolled_back_with_its_cause(db: Ledger) -> None:
    ask(db, "open_account", account_id="a")
    before = everything(db)
    with db.transaction(force_rollback=True):
        cause(db, "a")
        assert len(events(db)) == 1
    assert everything(db) == before
    cause(db, "a")
    assert claim(db) == [("a", 1)]


def test_listeners_are_told_on_commit_only(db: Ledger, connect: Connect) -> None:
    ask(db, "open_account", account_id="a")
    listener = connect()
    listener.execute("listen pgledger_events")
    writer = connect(autocommit=False)
    cause(writer, "a")
    listener.execute("select")
    assert list(listener.notifies(timeout=0)) == []
    writer.rollback()
    cause(writer, "a", "b")
    writer.commit()
    (said,) = listener.notifies(timeout=30, stop_after=1)
    assert (said.channel, said.payload) == ("pgledger_events", "account_frozen")
    listener.execute("select")
    assert list(listener.notifies(timeout=0)) == []


def test_plain_spends_tell_nobody(db: Ledger, connect: Connect) -> None:
    listener = connect()
    listener.execute("listen pgledger_events")
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "hold", account_id="a", amount=10, key="k")
    ask(db, "capture", account_id="a", key="k")
    ask(db, "spend", account_id="a", amount=10)
    listener.execute("select")
    assert list(listener.notifies(timeout=0)) == []


def test_acknowledged_events_may_be_deleted(db: Ledger) -> None:
    cause(db, "a", "a")
    ack(db, *claim(db, limit_count=1))
    db.execute("delete from pgledger.events where acked_at is not null")
    assert claim(db) == [("a", 2)]
    ack(db, ("a", 2))
    db.execute("delete from pgledger.events")
    cause(db, "a")
    assert claim(db) == [("a", 3)]
    assert in_order(db)


def test_settings_restored_without_their_events_count_on(db: Ledger) -> None:
    cause(db, "a", "a")
    db.execute("update pgledger.accounts set events = 0")
    assert [row["rule"] for row in ask_all(db, "verify")] == ["events are counted"]
    cause(db, "a")
    assert [row["seq"] for row in ask_all(db, "list_events")] == [3, 2, 1]
    assert in_order(db)


def test_what_expired_is_told_in_utc_whatever_the_session_thinks(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "hold", account_id="a", amount=10, key="h", expires_at="2200-01-01")
    let_expire(db)
    db.execute("set timezone = 'Asia/Kolkata'")
    ask(db, "spend", account_id="a", amount=1)
    ((_, payload),) = events(db)
    told = db.execute(
        "select %s::timestamptz = expires_at as same from pgledger.pending_transactions",
        [payload["expired_at"]],
    ).fetchone()
    assert payload["expired_at"].endswith("Z")
    assert told == {"same": True}


def test_a_full_notification_queue_fails_no_debit(db: Ledger) -> None:
    # The server's queue cannot be filled here without a restart; so its gauge is asked before.
    source = db.execute(
        "select prosrc from pg_proc where oid = 'pgledger._emit(text, text, jsonb[])'::regprocedure"
    ).fetchone()
    assert source
    notifies = source["prosrc"].index("pg_notify(")
    assert "if pg_notification_queue_usage() < 0.5 then" in source["prosrc"][:notifies]
