"""Holds that expired: what readers and writers make of them, and run_due, which closes them."""

from datetime import UTC, datetime

import pytest

from tests.sessions import Connect
from tests.support import (
    Ledger,
    ask,
    events,
    everything,
    in_order,
    let_expire,
    pending,
    posted,
    refused,
    refused_as_row,
    value,
)

LATER = "2200-01-01 00:00Z"
STEP = 100


@pytest.fixture
def due(db: Ledger) -> Ledger:
    """An account whose 100 credits are all held, by two holds that expired and one that did not."""
    ask(db, "top_up", account_id="a", amount=100)
    for key, amount in (("k", 50), ("l", 30), ("open", 20)):
        ask(db, "hold", account_id="a", amount=amount, key=key, expires_at=LATER, reference="chat")
    let_expire(db, "k", before="2 minutes")
    let_expire(db, "l")
    return db


def hold_many(db: Ledger, count: int, account_id: str = "a") -> None:
    """Hold one credit many times, and let all of it expire."""
    ask(db, "top_up", account_id=account_id, amount=count)
    db.execute(
        "select count(pgledger.hold(%s, 1, expires_at => %s)) from generate_series(1, %s)",
        [account_id, LATER, count],
    )
    let_expire(db, account_id=account_id)


def statuses(db: Ledger) -> dict[str, int]:
    found = db.execute(
        "select status::text, count(*) as n from pgledger.pending_transactions group by 1"
    ).fetchall()
    return {row["status"]: row["n"] for row in found}


def test_from_its_instant_on_a_hold_reserves_nothing_with_no_job_running(due: Ledger) -> None:
    before = everything(due)
    assert value(due, "get_credits", account_id="a") == 80
    balance = ask(due, "get_balance", account_id="a")
    assert (balance["balance"], balance["held"], balance["available"]) == (100, 20, 80)
    assert value(due, "check_credits", account_id="a", required=80) is True
    assert value(due, "check_credits", account_id="a", required=81) is False
    assert ask(due, "get_transaction", account_id="a", key="k")["status"] == "EXPIRED"
    assert ask(due, "get_transaction", account_id="a", key="open")["status"] == "PENDING"
    assert refused(due, "LG001", "spend", account_id="a", amount=81)["held"] == 20
    assert everything(due) == before
    assert in_order(due)


def test_readers_see_it_on_a_frozen_account_and_without_its_balance_row(due: Ledger) -> None:
    ask(due, "hold", account_id="a", amount=30, key="new", expires_at=LATER)
    ask(due, "set_account_status", account_id="a", status="FROZEN")
    let_expire(due, "new")
    for _ in range(2):
        assert value(due, "get_credits", account_id="a") == 80
        assert ask(due, "get_balance", account_id="a")["held"] == 20
        due.execute("delete from pgledger.balances")


def test_a_hold_expires_at_the_clock_and_not_before(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "hold", account_id="a", amount=50, expires_at=LATER)
    ask(db, "hold", account_id="a", amount=30)
    assert value(db, "get_credits", account_id="a") == 20
    let_expire(db, before="-1 hour")
    assert value(db, "get_credits", account_id="a") == 20
    assert value(db, "run_due") == 0
    let_expire(db, before="0 s")
    assert value(db, "get_credits", account_id="a") == 100


def test_an_instant_belongs_to_what_begins_with_it(db: Ledger) -> None:
    found = db.execute(
        "select pgledger._pending_status('PENDING', at, at)::text as at_it,"
        " pgledger._pending_status('PENDING', at, at - interval '1 us')::text as before_it"
        " from (select timestamptz '2030-01-01' as at) x"
    ).fetchone()
    assert found == {"at_it": "EXPIRED", "before_it": "PENDING"}
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "hold", account_id="a", amount=4, expires_at=LATER)
    held = db.execute(
        "select (pgledger._without_due(b, b.attention_at)).held as at_it,"
        " (pgledger._without_due(b, b.attention_at - interval '1 us')).held as before_it"
        " from pgledger.balances b"
    ).fetchone()
    assert held == {"at_it": 0, "before_it": 4}


def test_what_expired_elsewhere_frees_and_closes_nothing_here(due: Ledger) -> None:
    ask(due, "top_up", account_id="b", amount=100)
    for key, amount in (("open", 50), ("k", 3)):
        ask(due, "hold", account_id="b", amount=amount, key=key, expires_at=LATER)
    let_expire(due, account_id="b")
    assert value(due, "get_credits", account_id="a") == 80
    assert value(due, "get_credits", account_id="b") == 100
    ask(due, "spend", account_id="a", amount=1)
    assert pending(due) == {"k": "EXPIRED", "l": "EXPIRED", "open": "PENDING"}
    assert pending(due, "b") == {"k": "PENDING", "open": "PENDING"}
    assert in_order(due)


def test_the_oldest_are_closed_first_and_told_in_the_order_of_time(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=150)
    db.execute(
        "select count(pgledger.hold('a', 1, 'k' || lpad(n::text, 3, '0'), %s))"
        " from generate_series(1, 150) n",
        [LATER],
    )
    let_expire(db)
    db.execute(
        "update pgledger.pending_transactions"
        " set expires_at = timestamptz '2020-01-01' - substr(key, 2)::int * interval '1 minute'"
    )
    assert value(db, "run_due") == 1
    oldest_first = [f"k{n:03}" for n in range(150, 0, -1)]
    assert [said["key"] for _, said in events(db)] == oldest_first[:STEP]
    assert value(db, "run_due") == 1
    assert [said["key"] for _, said in events(db)] == oldest_first
    assert in_order(db)


def test_what_is_closed_no_longer_asks_for_attention(due: Ledger) -> None:
    ask(due, "spend", account_id="a", amount=1)
    kept = due.execute("select attention_at from pgledger.balances").fetchone()
    assert kept == {"attention_at": datetime(2200, 1, 1, tzinfo=UTC)}
    let_expire(due, "open")
    assert value(due, "run_due") == 1
    kept = due.execute("select attention_at::text from pgledger.balances").fetchone()
    assert kept == {"attention_at": "infinity"}


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("spend", {"amount": 80}),
        ("hold", {"amount": 80}),
        ("top_up", {"amount": 1}),
        ("top_up", {"amount": 1, "is_active": False}),
        ("grant_credits", {"amount": 1}),
        ("capture", {"key": "open"}),
        ("release", {"key": "open"}),
        ("refund", {"original_key": "#1", "amount": 80}),
        ("set_account_status", {"status": "FROZEN"}),
        ("set_limits", {"min_balance": -5}),
        ("set_low_balance_level", {"level": 5}),
        ("set_auto_top_up", {"threshold": 0, "amount": 5}),
        ("spend", {"amount": 81, "raise_refusals": False}),
        ("capture", {"key": "k", "raise_refusals": False}),
        ("release", {"key": "none", "raise_refusals": False}),
        ("refund", {"original_key": "none", "raise_refusals": False}),
    ],
)
def test_the_next_write_closes_what_expired(
    due: Ledger, verb: str, given: dict[str, object]
) -> None:
    expired = {
        row["key"]: row["expires_at"]
        for row in due.execute("select key, expires_at from pgledger.pending_transactions")
    }
    ask(due, verb, account_id="a", **given)
    assert {key: pending(due)[key] for key in ("k", "l")} == {"k": "EXPIRED", "l": "EXPIRED"}
    settled = due.execute(
        "select key, settled_at from pgledger.pending_transactions where status = 'EXPIRED'"
    ).fetchall()
    assert {row["key"]: row["settled_at"] for row in settled} == {
        key: expired[key] for key in ("k", "l")
    }
    told = [said for kind, said in events(due) if kind == "hold_expired"]
    assert [(said["key"], said["amount"], said["reference"]) for said in told] == [
        ("k", 50, "chat"),
        ("l", 30, "chat"),
    ]
    assert in_order(due)


def test_a_refusal_that_raises_closes_nothing(due: Ledger) -> None:
    refused(due, "LG001", "spend", account_id="a", amount=81)
    refused(due, "LG007", "capture", account_id="a", key="k")
    assert pending(due) == {"k": "PENDING", "l": "PENDING", "open": "PENDING"}


def test_running_what_is_due_closes_it_and_says_how_many_accounts(due: Ledger) -> None:
    ask(due, "top_up", account_id="b", amount=10)
    ask(due, "hold", account_id="b", amount=10, key="k", expires_at=LATER)
    let_expire(due, account_id="b")
    ask(due, "top_up", account_id="c", amount=10)
    ask(due, "hold", account_id="c", amount=10, key="k", expires_at=LATER)
    assert value(due, "run_due") == 2
    assert pending(due) == {"k": "EXPIRED", "l": "EXPIRED", "open": "PENDING"}
    assert (pending(due, "b"), pending(due, "c")) == ({"k": "EXPIRED"}, {"k": "PENDING"})
    assert [kind for kind, _ in events(due)] == ["hold_expired"] * 2
    before = everything(due)
    assert value(due, "run_due") == 0
    assert everything(due) == before
    assert in_order(due)


def test_an_empty_ledger_has_nothing_due(db: Ledger) -> None:
    assert value(db, "run_due") == 0


def test_it_settles_at_most_as_many_accounts_as_told(db: Ledger) -> None:
    for account_id in ("a", "b", "c"):
        hold_many(db, 2, account_id)
    assert value(db, "run_due", limit_count=2) == 2
    assert statuses(db) == {"EXPIRED": 4, "PENDING": 2}
    assert value(db, "run_due", limit_count=2) == 1
    assert value(db, "run_due", limit_count=1) == 0
    assert statuses(db) == {"EXPIRED": 6}
    assert in_order(db)


def test_it_waits_for_nobody_and_leaves_no_account_that_was_locked(
    db: Ledger, connect: Connect
) -> None:
    for account_id in ("a", "b"):
        hold_many(db, 2, account_id)
    db.execute("set lock_timeout = '100ms'")
    with connect(autocommit=False) as other:
        other.execute("select from pgledger.balances where account_id = 'a' for update")
        assert value(db, "run_due") == 1
        assert (set(pending(db).values()), set(pending(db, "b").values())) == (
            {"PENDING"},
            {"EXPIRED"},
        )
    assert value(db, "run_due") == 1
    assert in_order(db)


def test_it_closes_holds_of_a_frozen_account(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=10)
    ask(db, "hold", account_id="a", amount=10, key="k", expires_at=LATER)
    ask(db, "set_account_status", account_id="a", status="FROZEN")
    let_expire(db)
    assert value(db, "run_due") == 1
    assert pending(db) == {"k": "EXPIRED"}
    assert refused(db, "LG004", "spend", account_id="a", amount=1)["status"] == "FROZEN"
    assert in_order(db)


def test_ten_thousand_expired_holds_are_closed_in_bounded_steps(db: Ledger) -> None:
    hold_many(db, 10_000)
    assert value(db, "get_credits", account_id="a") == 10_000
    assert ask(db, "spend", account_id="a", amount=10_000)["available"] == 0
    assert statuses(db) == {"EXPIRED": STEP, "PENDING": 10_000 - STEP}
    assert in_order(db)
    ask(db, "top_up", account_id="a", amount=1)
    assert statuses(db)["EXPIRED"] == 2 * STEP
    assert value(db, "run_due") == 1
    assert statuses(db)["EXPIRED"] == 3 * STEP
    while value(db, "run_due"):
        pass
    assert statuses(db) == {"EXPIRED": 10_000}
    assert len(events(db)) == 10_000
    assert ask(db, "get_balance", account_id="a")["held"] == 0
    assert ask(db, "spend", account_id="a", amount=1)["available"] == 0
    assert in_order(db)


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("spend", {"account_id": "a", "amount": 999}),
        ("hold", {"account_id": "a", "amount": 999}),
        ("capture", {"account_id": "a", "key": "none"}),
        ("release", {"account_id": "a", "key": "none"}),
        ("enable_transaction", {"account_id": "a", "key": "#1"}),
        ("capture", {"account_id": "a", "key": "held", "amount": 4}),
        ("refund", {"account_id": "a", "original_key": "none"}),
        ("refund", {"account_id": "a", "original_key": "#1", "amount": 251}),
        ("transfer", {"from_account_id": "a", "to_account_id": "b", "amount": 999}),
        ("transfer", {"from_account_id": "b", "to_account_id": "a", "amount": 999}),
        ("top_up", {"account_id": "a", "amount": 1, "key": "paid"}),
    ],
)
def test_a_call_that_refuses_as_a_row_closes_one_step_too(
    db: Ledger, verb: str, given: dict[str, object]
) -> None:
    ask(db, "top_up", account_id="b", amount=9)
    ask(db, "top_up", account_id="a", amount=9, key="paid")
    ask(db, "hold", account_id="a", amount=3, key="held")
    hold_many(db, 250)
    db.execute("update pgledger.pending_transactions set expires_at = null where key = 'held'")
    assert ask(db, verb, **given, raise_refusals=False)["status"] == "REFUSED"
    assert statuses(db) == {"EXPIRED": STEP, "PENDING": 151}
    assert in_order(db)


def test_a_closed_account_may_leave_expired_holds_behind(db: Ledger) -> None:
    hold_many(db, 250)
    ask(db, "spend", account_id="a", amount=250)
    assert ask(db, "set_account_status", account_id="a", status="CLOSED")["status"] == "CLOSED"
    assert statuses(db)["PENDING"] == 50
    assert in_order(db)
    assert value(db, "run_due") == 1
    assert statuses(db) == {"EXPIRED": 250}
    refused_as_row(db, "LG004", "spend", account_id="a", amount=1)
    assert posted(db, "a") == [250, -250]
    assert in_order(db)


def test_what_is_rolled_back_was_not_closed(due: Ledger) -> None:
    before = everything(due)
    with due.transaction(force_rollback=True):
        assert value(due, "run_due") == 1
    assert everything(due) == before


def test_an_account_whose_balance_row_was_lost_is_settled_too(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=100)
    ask(db, "hold", account_id="a", amount=10, key="h", expires_at="2200-01-01")
    let_expire(db)
    db.execute("delete from pgledger.balances")
    assert value(db, "run_due") == 1
    assert ask(db, "get_transaction", account_id="a", key="h")["status"] == "EXPIRED"
    assert value(db, "run_due") == 0
    assert in_order(db)
