"""Spending caps: what an account may use in a period of the calendar, and what gives room back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.conftest import Connect
from tests.plans import DAY, TICK, let_days_pass, midnight, zone
from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    ask_all,
    everything,
    in_order,
    posted,
    refused,
    refused_as_row,
    replayed,
    value,
    write_history,
)


@pytest.fixture
def ledger(db: Ledger) -> Ledger:
    """An account with plenty of credits."""
    ask(db, "top_up", account_id="a", amount=10_000)
    return db


@pytest.fixture
def capped(ledger: Ledger) -> Ledger:
    """An account that may use 100 a day."""
    cap(ledger)
    return ledger


def cap(db: Ledger, amount: int | None = 100, **given: object) -> list[dict[str, Any]]:
    terms = {"period": "1 day", "time_zone": zone()} | given
    return ask_all(db, "set_spending_cap", account_id="a", amount=amount, **terms)


def spend(db: Ledger, amount: int, **given: object) -> dict[str, Any]:
    return ask(db, "spend", account_id="a", amount=amount, **given)


def left(db: Ledger) -> int:
    """Return what the cap leaves, as the balance row has it, and as the journal tells."""
    (row,) = db.execute("select cap_left from pgledger.balances where account_id = 'a'").fetchall()
    (told,) = db.execute(
        "select cap_left from pgledger._cap_now('a', clock_timestamp())"
    ).fetchall()
    assert row == told
    assert isinstance(row["cap_left"], int)
    return row["cap_left"]


def used(db: Ledger) -> tuple[int, int]:
    row = ask(db, "get_spending_cap", account_id="a")
    return row["used"], row["remaining"]


# The cap


def test_a_cap_is_of_a_calendar_month_in_utc_unless_said_otherwise(ledger: Ledger) -> None:
    (row,) = ask_all(ledger, "set_spending_cap", account_id="a", amount=100)
    (stored,) = ledger.execute(
        "select amount, period::text, time_zone from pgledger.spending_caps"
    ).fetchall()
    assert stored == {"amount": 100, "period": "1 mon", "time_zone": "UTC"}
    now = datetime.now(UTC)
    assert row["resets_at"] > now
    assert (row["resets_at"].day, row["resets_at"].hour) == (1, 0)
    assert row["resets_at"] - now <= 31 * DAY


def test_a_cap_is_answered_and_told(capped: Ledger) -> None:
    assert cap(capped) == [
        {
            "account_id": "a",
            "amount": 100,
            "period": DAY,
            "time_zone": zone(),
            "resets_at": midnight(1),
        }
    ]
    spend(capped, 30)
    assert ask(capped, "get_spending_cap", account_id="a") == {
        "amount": 100,
        "period": DAY,
        "time_zone": zone(),
        "used": 30,
        "remaining": 70,
        "resets_at": midnight(1),
    }
    assert in_order(capped)


def test_without_a_cap_there_is_none_to_tell(ledger: Ledger) -> None:
    assert ask_all(ledger, "get_spending_cap", account_id="a") == []
    assert ask_all(ledger, "get_spending_cap", account_id="nobody") == []


def test_a_spend_up_to_the_cap_goes_through_and_no_further(capped: Ledger) -> None:
    spend(capped, 99)
    spend(capped, 1)
    assert left(capped) == 0
    details = refused(capped, "LG008", "spend", account_id="a", amount=1)
    assert details == {
        "account_id": "a",
        "key": None,
        "cap": 100,
        "used": 100,
        "remaining": 0,
        "requested": 1,
        "resets_at": f"{midnight(1):%Y-%m-%dT%H:%M:%SZ}",
    }
    assert in_order(capped)


def test_a_refusal_as_a_row_leaves_the_cap_as_it_is(capped: Ledger) -> None:
    refused_as_row(capped, "LG008", "spend", account_id="a", amount=101)
    assert left(capped) == 100


def test_a_repeat_beyond_the_cap_is_answered(capped: Ledger) -> None:
    spend(capped, 100, key="k")
    replayed(capped, "spend", account_id="a", amount=100, key="k")
    assert left(capped) == 0


def test_a_repeat_within_the_cap_uses_nothing(capped: Ledger) -> None:
    spend(capped, 30, key="k")
    replayed(capped, "spend", account_id="a", amount=30, key="k")
    assert left(capped) == 70


def test_a_partial_spend_takes_what_the_cap_leaves(capped: Ledger) -> None:
    spend(capped, 70)
    row = spend(capped, 50, shortfall="PARTIAL")
    assert (row["amount"], row["requested_amount"]) == (-30, -50)
    refused(capped, "LG008", "spend", account_id="a", amount=1, shortfall="PARTIAL")
    assert left(capped) == 0


def test_a_partial_spend_takes_what_credits_and_cap_leave(ledger: Ledger) -> None:
    cap(ledger, 20_000)
    assert spend(ledger, 15_000, shortfall="PARTIAL")["amount"] == -10_000
    assert left(ledger) == 10_000
    details = refused(ledger, "LG001", "spend", account_id="a", amount=1, shortfall="PARTIAL")
    assert details["available"] == 0


def test_a_spend_that_may_leave_a_debt_is_capped_too(capped: Ledger) -> None:
    ask(capped, "set_limits", account_id="a", min_balance=0, debt_floor=-(10**6))
    refused(capped, "LG008", "spend", account_id="a", amount=101, shortfall="DEBT")
    spend(capped, 100, shortfall="DEBT")


def test_a_cap_of_nothing_lets_nothing_through(ledger: Ledger) -> None:
    cap(ledger, 0)
    refused(ledger, "LG008", "spend", account_id="a", amount=1)
    refused(ledger, "LG008", "spend", account_id="a", amount=1, shortfall="PARTIAL")
    assert used(ledger) == (0, 0)


def test_the_greatest_cap_is_no_cap(ledger: Ledger) -> None:
    cap(ledger, HIGHEST)
    spend(ledger, 10_000)
    assert left(ledger) == HIGHEST - 10_000
    assert in_order(ledger)


# What counts


def test_only_usage_counts(capped: Ledger) -> None:
    ask(capped, "open_account", account_id="b")
    ask(capped, "add_transaction", account_id="a", amount=-500, type="ADJUSTMENT")
    ask(capped, "add_transaction", account_id="a", amount=500, type="USAGE")
    ask(capped, "transfer", from_account_id="a", to_account_id="b", amount=500)
    ask(capped, "top_up", account_id="a", amount=500, key="t")
    ask(capped, "refund", account_id="a", original_key="t", amount=500)
    assert left(capped) == 100
    ask(capped, "add_transaction", account_id="a", amount=-10, type="USAGE")
    assert left(capped) == 90
    refused(capped, "LG008", "add_transaction", account_id="a", amount=-91, type="USAGE")
    assert in_order(capped)


def test_only_usage_is_capped(capped: Ledger) -> None:
    spend(capped, 100)
    ask(capped, "open_account", account_id="b")
    ask(capped, "add_transaction", account_id="a", amount=-500, type="ADJUSTMENT")
    ask(capped, "transfer", from_account_id="a", to_account_id="b", amount=500)
    assert left(capped) == 0


def test_what_goes_through_in_any_case_counts(capped: Ledger) -> None:
    ask(
        capped,
        "add_transaction",
        account_id="a",
        amount=-130,
        type="USAGE",
        fail_insufficient_credits=False,
    )
    assert left(capped) == -30
    assert used(capped) == (130, 0)
    details = refused(capped, "LG008", "spend", account_id="a", amount=1)
    assert (details["cap"], details["used"]) == (100, 130)
    assert in_order(capped)


def test_usage_before_the_cap_was_set_counts(ledger: Ledger) -> None:
    spend(ledger, 30)
    cap(ledger)
    assert left(ledger) == 70
    cap(ledger, 20)
    assert left(ledger) == -10
    refused(ledger, "LG008", "spend", account_id="a", amount=1)
    cap(ledger, 40)
    spend(ledger, 10)
    assert in_order(ledger)


def test_usage_counts_for_each_account_by_itself(capped: Ledger) -> None:
    ask(capped, "top_up", account_id="b", amount=500)
    ask(capped, "spend", account_id="b", amount=500)
    assert left(capped) == 100


def test_each_account_has_its_own_cap(capped: Ledger) -> None:
    spend(capped, 30)
    ask(capped, "top_up", account_id="b", amount=500)
    terms = {"account_id": "b", "period": "1 day", "time_zone": zone()}
    (row,) = ask_all(capped, "set_spending_cap", amount=50, **terms)
    assert (row["account_id"], row["amount"]) == ("b", 50)
    ask(capped, "spend", account_id="b", amount=10)
    assert used(capped) == (30, 70)
    assert ask(capped, "get_spending_cap", account_id="b")["remaining"] == 40
    assert len(cap(capped, 200)) == 1
    assert len(ask_all(capped, "set_spending_cap", amount=60, **terms)) == 1
    assert used(capped) == (30, 170)
    assert ask_all(capped, "set_spending_cap", amount=None, **terms) == []
    assert left(capped) == 170
    assert in_order(capped)


def test_what_is_left_is_told_without_counting(capped: Ledger) -> None:
    capped.execute("update pgledger.balances set cap_left = 7")
    assert used(capped) == (93, 7)


# Holds


def test_a_hold_is_refused_beyond_the_cap_and_counts_when_captured(capped: Ledger) -> None:
    details = refused(capped, "LG008", "hold", account_id="a", amount=101, key="h")
    assert (details["remaining"], details["requested"]) == (100, 101)
    ask(capped, "hold", account_id="a", amount=100, key="h")
    assert left(capped) == 100
    ask(capped, "capture", account_id="a", key="h", amount=60)
    assert left(capped) == 40
    assert in_order(capped)


def test_a_capture_goes_through_beyond_the_cap(capped: Ledger) -> None:
    ask(capped, "hold", account_id="a", amount=100, key="h")
    spend(capped, 90)
    ask(capped, "capture", account_id="a", key="h")
    assert left(capped) == -90
    assert used(capped) == (190, 0)
    assert in_order(capped)


def test_a_release_gives_nothing_back(capped: Ledger) -> None:
    ask(capped, "hold", account_id="a", amount=100, key="h")
    ask(capped, "release", account_id="a", key="h")
    assert left(capped) == 100


def test_a_hold_over_the_end_of_a_period_counts_in_the_next(capped: Ledger) -> None:
    ask(capped, "hold", account_id="a", amount=80, key="h")
    spend(capped, 50)
    let_days_pass(capped, 1)
    ask(capped, "capture", account_id="a", key="h")
    assert left(capped) == 20
    assert in_order(capped)


# Back


def test_a_reversal_of_usage_of_this_period_gives_room_back(capped: Ledger) -> None:
    spend(capped, 60, key="k")
    ask(capped, "reverse_transaction", account_id="a", original_key="k", amount=20)
    # The history of somebody else has the same numbers.
    ask(capped, "top_up", account_id="b", amount=500)
    ask(capped, "spend", account_id="b", amount=500)
    assert left(capped) == 60
    assert used(capped) == (40, 60)
    ask(capped, "reverse_transaction", account_id="a", original_key="k")
    assert left(capped) == 100
    assert in_order(capped)


def test_a_reversal_of_usage_of_a_past_period_gives_none(capped: Ledger) -> None:
    spend(capped, 60, key="k")
    let_days_pass(capped, 1)
    spend(capped, 10)
    ask(capped, "reverse_transaction", account_id="a", original_key="k")
    assert left(capped) == 90
    assert in_order(capped)


def test_a_reversal_of_anything_else_gives_none(capped: Ledger) -> None:
    ask(capped, "add_transaction", account_id="a", amount=-50, type="ADJUSTMENT", key="k")
    spend(capped, 60)
    ask(capped, "reverse_transaction", account_id="a", original_key="k")
    ask(capped, "grant_credits", account_id="a", amount=50, key="g")
    ask(capped, "reverse_transaction", account_id="a", original_key="g")
    ask(capped, "add_transaction", account_id="a", amount=50, type="USAGE", key="u")
    ask(capped, "reverse_transaction", account_id="a", original_key="u")
    assert left(capped) == 40
    assert in_order(capped)


# Periods


def test_a_new_period_leaves_all_of_the_cap(capped: Ledger) -> None:
    spend(capped, 100)
    let_days_pass(capped, 1)
    row = ask(capped, "get_spending_cap", account_id="a")
    assert (row["used"], row["remaining"], row["resets_at"]) == (0, 100, midnight(1))
    spend(capped, 100)
    assert left(capped) == 0
    refused(capped, "LG008", "spend", account_id="a", amount=1)
    assert in_order(capped)


def test_a_period_ends_to_the_microsecond(capped: Ledger) -> None:
    spend(capped, 30)
    for at, expected in [
        (midnight(1) - TICK, (70, midnight(1))),
        (midnight(1), (100, midnight(2))),
        (midnight(), (70, midnight(1))),
        (midnight() - TICK, (100, midnight())),
    ]:
        (row,) = capped.execute("select * from pgledger._cap_now('a', %s)", [at]).fetchall()
        assert row == {"amount": 100, "cap_left": expected[0], "resets_at": expected[1]}


def test_usage_counts_in_the_period_it_was_posted_in(capped: Ledger) -> None:
    for amount in (10, 20, 30):
        spend(capped, amount)
        let_days_pass(capped, 1)
    spend(capped, 40)
    for days, expected in [(-4, 100), (-3, 90), (-2, 80), (-1, 70), (0, 60), (1, 100)]:
        for at in (midnight(days), midnight(days + 1) - TICK):
            (row,) = capped.execute("select * from pgledger._cap_now('a', %s)", [at]).fetchall()
            assert row["cap_left"] == expected


def test_usage_at_the_first_instant_of_a_period_counts_in_it(capped: Ledger) -> None:
    spend(capped, 10)
    spend(capped, 20)
    capped.execute("alter table pgledger.transactions disable trigger transactions_append_only")
    capped.execute(
        "update pgledger.transactions set created_at = %s + (seq - 3) * interval '1 microsecond'",
        [midnight()],
    )
    assert left_by_journal(capped, midnight()) == 80
    assert left_by_journal(capped, midnight() - TICK) == 90


def left_by_journal(db: Ledger, at: datetime) -> int:
    (row,) = db.execute("select cap_left from pgledger._cap_now('a', %s)", [at]).fetchall()
    assert isinstance(row["cap_left"], int)
    return row["cap_left"]


def test_a_refusal_in_a_period_that_nobody_began_says_when_it_ends(capped: Ledger) -> None:
    let_days_pass(capped, 1)
    details = refused(capped, "LG008", "spend", account_id="a", amount=101)
    assert details["resets_at"] == f"{midnight(1):%Y-%m-%dT%H:%M:%SZ}"
    assert (details["used"], details["remaining"]) == (0, 100)


def test_many_periods_without_a_spend_are_one_reset(capped: Ledger) -> None:
    spend(capped, 100)
    let_days_pass(capped, 40)
    spend(capped, 1)
    (row,) = capped.execute("select resets_at from pgledger.spending_caps").fetchall()
    assert row["resets_at"] == midnight(1)
    assert left(capped) == 99


def test_what_else_falls_due_does_not_reset_the_cap(capped: Ledger) -> None:
    spend(capped, 30)
    ask(capped, "hold", account_id="a", amount=5, key="h", expires_at=datetime.now(UTC) + DAY)
    capped.execute(
        "update pgledger.pending_transactions set expires_at = clock_timestamp();"
        "update pgledger.balances set attention_at = '-infinity'"
    )
    spend(capped, 30)
    assert left(capped) == 40
    assert in_order(capped)


def test_a_frozen_account_keeps_its_cap(capped: Ledger) -> None:
    spend(capped, 30)
    ask(capped, "set_account_status", account_id="a", status="FROZEN")
    ask(capped, "set_account_status", account_id="a", status="OPEN")
    assert left(capped) == 70
    assert in_order(capped)


# Setting it


def test_a_repeat_changes_nothing(capped: Ledger) -> None:
    spend(capped, 30)
    before = everything(capped)
    cap(capped)
    assert everything(capped) == before


def test_null_takes_the_cap_away(capped: Ledger) -> None:
    spend(capped, 100)
    assert cap(capped, None) == []
    assert ask_all(capped, "get_spending_cap", account_id="a") == []
    spend(capped, 5000)
    (row,) = capped.execute("select cap_left from pgledger.balances").fetchall()
    assert row["cap_left"] is None
    let_days_pass(capped, 1)
    spend(capped, 1)
    assert in_order(capped)
    assert cap(capped, None) == []


def test_another_period_counts_from_its_own_start(capped: Ledger) -> None:
    spend(capped, 30)
    let_days_pass(capped, 1)
    spend(capped, 20)
    assert left(capped) == 80
    cap(capped, 1000, period="12 months", time_zone="UTC")
    (row,) = capped.execute("select * from pgledger.spending_caps").fetchall()
    assert (row["resets_at"].month, row["resets_at"].day) == (1, 1)
    yesterday = midnight(-1)
    assert left(capped) == (950 if row["resets_at"] - yesterday < 366 * DAY else 980)


def test_a_cap_wakes_the_slow_path_when_its_period_ends(ledger: Ledger) -> None:
    cap(ledger)
    (row,) = ledger.execute("select attention_at from pgledger.balances").fetchall()
    assert row["attention_at"] == midnight(1)


def test_a_cap_leaves_what_is_due_before(ledger: Ledger) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    ask(ledger, "hold", account_id="a", amount=5, key="h", expires_at=soon)
    cap(ledger)
    (row,) = ledger.execute("select attention_at from pgledger.balances").fetchall()
    assert row["attention_at"] == soon


def test_a_shorter_period_ends_earlier(ledger: Ledger) -> None:
    cap(ledger, period="12 months")
    cap(ledger)
    spend(ledger, 30)
    let_days_pass(ledger, 1)
    spend(ledger, 100)
    assert left(ledger) == 0


def test_setting_a_cap_posts_what_is_due(capped: Ledger) -> None:
    spend(capped, 30)
    let_days_pass(capped, 1)
    (row,) = cap(capped, 50)
    assert row["resets_at"] == midnight(1)
    assert left(capped) == 50
    assert in_order(capped)


@pytest.mark.parametrize(
    ("sqlstate", "parameter", "given"),
    [
        ("22023", "amount", {"amount": -1}),
        ("22023", "period", {"period": "2 days"}),
        ("22023", "period", {"period": "30 days"}),
        ("22004", "period", {"period": None}),
        ("22023", "time_zone", {"time_zone": "Nowhere/Else"}),
        ("22004", "time_zone", {"time_zone": None}),
        ("22023", "account_id", {"account_id": ""}),
        ("22004", "account_id", {"account_id": None}),
    ],
    ids=str,
)
def test_what_cannot_be_a_cap_is_refused(
    ledger: Ledger, sqlstate: str, parameter: str, given: dict[str, Any]
) -> None:
    call = {"account_id": "a", "amount": 1} | given
    assert refused(ledger, sqlstate, "set_spending_cap", **call)["parameter"] == parameter


def test_who_has_no_account_has_no_cap(ledger: Ledger) -> None:
    refused(ledger, "LG003", "set_spending_cap", account_id="nobody", amount=1)
    refused(ledger, "22023", "get_spending_cap", account_id="")
    refused(ledger, "22004", "get_spending_cap", account_id=None)


def test_the_table_holds_what_the_function_checks(capped: Ledger) -> None:
    for wrong in ("amount = -1", "period = '23 hours'"):
        with pytest.raises(psycopg.errors.CheckViolation):
            capped.execute(f"update pgledger.spending_caps set {wrong}")


# Rebuilt, and checked


def test_a_lost_balance_row_is_made_again_with_what_the_cap_leaves(capped: Ledger) -> None:
    spend(capped, 30, key="k")
    ask(capped, "reverse_transaction", account_id="a", original_key="k", amount=10)
    capped.execute("delete from pgledger.balances")
    assert used(capped) == (20, 80)
    refused(capped, "LG008", "spend", account_id="a", amount=81)
    spend(capped, 80)
    assert left(capped) == 0
    assert in_order(capped)


def test_a_balance_row_lost_over_the_end_of_a_period_is_made_again(capped: Ledger) -> None:
    spend(capped, 30)
    let_days_pass(capped, 1)
    capped.execute("delete from pgledger.balances")
    assert used(capped) == (0, 100)
    spend(capped, 10)
    assert left(capped) == 90
    assert in_order(capped)


def test_usage_of_another_system_counts(db: Ledger) -> None:
    write_history(db, "a", 500, -30, -40)
    ask(db, "set_limits", account_id="a", min_balance=0)
    cap(db)
    assert left(db) == 30


def test_history_with_gaps_and_a_late_beginning_is_parted_rightly(db: Ledger) -> None:
    write_history(db, "a", 500, -1, -2, -4, -8)
    db.execute("alter table pgledger.transactions disable trigger transactions_append_only")
    db.execute("update pgledger.transactions set seq = seq * 10 + 100")
    instants = [
        row["created_at"]
        for row in db.execute(
            "update pgledger.transactions set created_at = %s + seq * interval '1 minute'"
            " returning created_at",
            [midnight()],
        )
    ]
    for at in [*instants, midnight(), midnight(5)]:
        expected = max([110 + 10 * place for place, one in enumerate(instants) if one < at] or [0])
        part = value(db, "_last_seq_before", account_id="a", at=at)
        parted = db.execute(
            "select count(*) from pgledger.transactions where seq > %s", [part]
        ).fetchone()
        told = db.execute(
            "select count(*) from pgledger.transactions where seq > %s", [expected]
        ).fetchone()
        assert parted == told
    assert value(db, "_last_seq_before", account_id="nobody", at=midnight()) == 0


def test_the_history_of_others_parts_no_account(db: Ledger) -> None:
    write_history(db, "a", 500, -1, -2, -4, -8)
    write_history(db, "b", 500, -1, -2, -4, -8)
    write_history(db, "c", 500, -1, -2, -4, -8)
    db.execute("alter table pgledger.transactions disable trigger transactions_append_only")
    db.execute(
        "update pgledger.transactions set created_at = %s"
        " + (seq + case account_id when 'a' then -100 when 'c' then 100 else 0 end)"
        " * interval '1 second'",
        [midnight()],
    )
    for account_id, expected in [("a", 5), ("b", 2), ("c", 0)]:
        at = midnight() + timedelta(seconds=3)
        assert value(db, "_last_seq_before", account_id=account_id, at=at) == expected


def test_usage_beyond_the_range_of_bigint_is_used_up(db: Ledger) -> None:
    write_history(db, "a", *[HIGHEST, -HIGHEST] * 3)
    ask(db, "set_limits", account_id="a", min_balance=0)
    cap(db, HIGHEST)
    assert left(db) == LOWEST
    assert used(db) == (HIGHEST, 0)
    assert refused(db, "LG008", "spend", account_id="a", amount=1)["cap"] == HIGHEST
    assert in_order(db)


def test_what_goes_through_in_any_case_does_so_whatever_was_used(db: Ledger) -> None:
    write_history(db, "a", *[HIGHEST, -HIGHEST] * 3)
    ask(db, "set_limits", account_id="a", min_balance=0)
    cap(db, HIGHEST)
    call = {"account_id": "a", "amount": -1, "type": "USAGE", "fail_insufficient_credits": False}
    ask(db, "add_transaction", **call)
    assert left(db) == LOWEST


def test_two_spends_at_once_share_one_cap(capped: Ledger, connect: Connect) -> None:
    first, second = connect(autocommit=False), connect()
    spend(first, 60)
    second.execute("set lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        spend(second, 60)
    first.commit()
    refused(second, "LG008", "spend", account_id="a", amount=60)
    assert posted(capped, "a")[1:] == [-60]


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (
            "a spending cap resets when a period ends",
            "update pgledger.spending_caps set resets_at = resets_at + interval '1 microsecond'",
        ),
        (
            "a spending cap resets when a period ends",
            "update pgledger.spending_caps set resets_at = '2400-01-01 00:00+00'",
        ),
        (
            "cap_left is what the cap leaves",
            "update pgledger.balances set cap_left = cap_left + 1",
        ),
        ("cap_left is what the cap leaves", "update pgledger.balances set cap_left = null"),
        ("cap_left is what the cap leaves", "delete from pgledger.spending_caps"),
        ("cap_left is what the cap leaves", "update pgledger.spending_caps set amount = 99"),
        ("a spending cap has an account", "delete from pgledger.accounts"),
    ],
)
def test_the_auditor_finds_what_is_wrong_with_a_cap(capped: Ledger, rule: str, change: str) -> None:
    spend(capped, 30)
    assert ask_all(capped, "_verify_caps", account_id="a") == []
    capped.execute(change)
    assert rule in [row["rule"] for row in ask_all(capped, "_verify_caps", account_id="a")]
    assert rule in [row["rule"] for row in ask_all(capped, "verify")]


def test_the_auditor_wants_no_reset_before_anybody_writes(capped: Ledger) -> None:
    spend(capped, 30)
    let_days_pass(capped, 1)
    assert in_order(capped)
    capped.execute("update pgledger.balances set cap_left = null")
    assert not in_order(capped)


def test_a_row_made_again_before_a_reset_is_already_of_the_new_period(capped: Ledger) -> None:
    spend(capped, 30)
    let_days_pass(capped, 1)
    capped.execute("delete from pgledger.balances")
    ask(capped, "open_account", account_id="a")
    (row,) = capped.execute("select cap_left from pgledger.balances").fetchall()
    assert row["cap_left"] == 100
    assert in_order(capped)
    spend(capped, 10)
    assert left(capped) == 90


def test_the_auditor_is_content_without_a_balance_row(capped: Ledger) -> None:
    capped.execute("delete from pgledger.balances")
    assert ask_all(capped, "_verify_caps", account_id="a") == []
    assert ask_all(capped, "_verify_caps", account_id="nobody") == []


def test_a_reset_is_only_made_when_it_is_due(capped: Ledger) -> None:
    spend(capped, 30)
    assert value(capped, "_reset_cap", account_id="a", at=midnight(1) - TICK) == 70
    assert value(capped, "_reset_cap", account_id="a", at=midnight(1)) == 100
    (row,) = capped.execute("select resets_at from pgledger.spending_caps").fetchall()
    assert row["resets_at"] == midnight(2)
    assert value(capped, "_reset_cap", account_id="nobody", at=midnight(1)) is None


def test_a_year_is_not_over_in_a_month(ledger: Ledger) -> None:
    for period, longest in [("1 month", 31), ("3 months", 92), ("12 months", 366)]:
        (row,) = cap(ledger, period=period)
        assert timedelta() < row["resets_at"] - datetime.now(UTC) <= longest * DAY


def test_a_check_answers_as_the_spend_would_under_the_cap(capped: Ledger) -> None:
    left = ask(capped, "get_spending_cap", account_id="a")["remaining"]
    assert value(capped, "check_credits", account_id="a", required=left) is True
    assert value(capped, "check_credits", account_id="a", required=left + 1) is False
    spend(capped, left)
    assert value(capped, "check_credits", account_id="a", required=1) is False
    let_days_pass(capped, 1)
    assert value(capped, "check_credits", account_id="a", required=left) is True


def test_a_capture_goes_through_whatever_was_used_before(capped: Ledger) -> None:
    ask(capped, "hold", account_id="a", amount=10, key="h")
    capped.execute("update pgledger.balances set cap_left = %s", [LOWEST + 1])
    assert ask(capped, "capture", account_id="a", key="h")["status"] == "POSTED"
    (row,) = capped.execute("select cap_left from pgledger.balances").fetchall()
    assert row["cap_left"] == LOWEST
