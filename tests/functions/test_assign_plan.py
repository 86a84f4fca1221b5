"""assign_plan: when a plan begins, how one takes over from another, and what is not asked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.conftest import Connect
from tests.plans import DAY, TICK, let_days_pass, midnight, plan, refills, today
from tests.support import Ledger, ask, ask_all, everything, in_order, journal, refused, value

HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(db: Ledger) -> Ledger:
    """An account, and two plans with daily allowances."""
    ask(db, "open_account", account_id="a")
    plan(db, "basic", 10)
    plan(db, "pro", 100)
    return db


def assign(db: Ledger, code: str, **given: object) -> dict[str, Any]:
    return ask(db, "assign_plan", account_id="a", plan=code, **given)


def on(db: Ledger) -> tuple[str, datetime, str | None]:
    row = ask(db, "get_plan", account_id="a")
    return row["plan"], row["refill_at"], row["next_plan"]


def credits_left(db: Ledger) -> int:
    left = value(db, "get_credits", account_id="a")
    assert isinstance(left, int)
    return left


# The first plan


def test_a_plan_begins_now_unless_said_otherwise(ledger: Ledger) -> None:
    before = datetime.now(UTC)
    row = assign(ledger, "pro")
    assert before <= row.pop("starts_at") <= datetime.now(UTC)
    assert row == {
        "account_id": "a",
        "plan": "pro",
        "refill_at": midnight(1),
        "next_plan": None,
    }
    assert refills(ledger) == [(f"pro-{today()}", 100)]


def test_get_plan_tells_the_terms(ledger: Ledger) -> None:
    given = ask(ledger, "create_plan", code="x", amount=5, period="3 months", policy="ADD")
    assert ask_all(ledger, "get_plan", account_id="a") == []
    row = assign(ledger, "x")
    assert ask(ledger, "get_plan", account_id="a") == {
        "plan": "x",
        "policy": "ADD",
        "amount": 5,
        "period": given["period"],
        "anchor": "CALENDAR",
        "time_zone": "UTC",
        "starts_at": row["starts_at"],
        "refill_at": row["refill_at"],
        "next_plan": None,
        "allowance_left": None,
    }


def test_a_plan_that_began_long_ago_grants_nothing_of_the_past(ledger: Ledger) -> None:
    plan(ledger, "add", policy="ADD")
    row = assign(ledger, "add", starts_at=midnight(-9))
    assert (row["starts_at"], row["refill_at"]) == (midnight(-9), midnight(1))
    assert refills(ledger) == [(f"add-{today()}", 100)]
    assert in_order(ledger)


def test_a_plan_that_begins_later_grants_then(ledger: Ledger) -> None:
    starts_at = datetime.now(UTC) + HOUR
    row = assign(ledger, "pro", starts_at=starts_at)
    assert (row["starts_at"], row["refill_at"]) == (starts_at, starts_at)
    assert credits_left(ledger) == 0
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] is None
    assert in_order(ledger)
    let_days_pass(ledger, 1)
    # It began in the middle of a day, whose allowance is over already.
    assert credits_left(ledger) == 100
    ask(ledger, "spend", account_id="a", amount=1)
    assert refills(ledger) == [(f"pro-{today()}", 100)]


def test_a_plan_that_begins_later_grants_the_whole_period_it_begins_in(ledger: Ledger) -> None:
    plan(ledger, "add", policy="ADD")
    starts_at = midnight(1) + HOUR
    assign(ledger, "add", starts_at=starts_at)
    for at, days in [(starts_at - TICK, []), (starts_at, [1]), (midnight(2), [1, 2])]:
        due = ledger.execute(
            "select due_at, key from pgledger._refills_due('a', %s, false)", [at]
        ).fetchall()
        assert [row["key"] for row in due] == [f"#refill-add-{today(day)}" for day in days]
        assert [row["due_at"] for row in due] == [starts_at, midnight(2)][: len(days)]


def test_an_account_with_no_more_than_history_can_be_on_a_plan(ledger: Ledger) -> None:
    ledger.execute("delete from pgledger.accounts")
    ledger.execute("delete from pgledger.balances")
    refused(ledger, "LG003", "assign_plan", account_id="a", plan="pro")
    ask(ledger, "grant_credits", account_id="a", amount=1)
    assign(ledger, "pro")
    assert credits_left(ledger) == 101


# Again


def test_the_plan_it_is_on_changes_nothing(ledger: Ledger) -> None:
    starts_at = datetime.now(UTC) - DAY
    row = assign(ledger, "pro", starts_at=starts_at)
    before = everything(ledger)
    assert assign(ledger, "pro", starts_at=starts_at) == row
    assert assign(ledger, "pro") == row
    assert assign(ledger, "pro", at_once=True) == row
    assert assign(ledger, "pro", at_once=True, expire_allowance=True) == row
    assert everything(ledger) == before


@pytest.mark.parametrize("at_once", [False, True])
def test_the_plan_it_is_on_drops_a_change_that_waits(ledger: Ledger, at_once: bool) -> None:  # noqa: FBT001
    row = assign(ledger, "pro")
    assign(ledger, "basic")
    assert assign(ledger, "pro", at_once=at_once) == row
    assert on(ledger) == ("pro", midnight(1), None)


def test_a_change_that_waits_can_be_asked_for_again(ledger: Ledger) -> None:
    assign(ledger, "pro")
    row = assign(ledger, "basic")
    before = everything(ledger)
    assert assign(ledger, "basic") == row
    assert everything(ledger) == before


# Another plan


def test_another_plan_takes_over_with_the_next_period(ledger: Ledger) -> None:
    began = assign(ledger, "pro")["starts_at"]
    row = assign(ledger, "basic")
    assert (row["plan"], row["starts_at"]) == ("pro", began)
    assert on(ledger) == ("pro", midnight(1), "basic")
    assert credits_left(ledger) == 100
    let_days_pass(ledger, 1)
    assert on(ledger) == ("basic", midnight(1), None)
    assert ask(ledger, "get_plan", account_id="a")["starts_at"] == midnight()
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 10
    assert credits_left(ledger) == 10
    assert assign(ledger, "basic") == {
        "account_id": "a",
        "plan": "basic",
        "starts_at": midnight(),
        "refill_at": midnight(1),
        "next_plan": None,
    }
    assert journal(ledger) == [("GRANT", 100), ("EXPIRY", -100), ("GRANT", 10)]
    assert refills(ledger) == [(f"pro-{today(-1)}", 100), (f"basic-{today()}", 10)]
    assert in_order(ledger)


def test_another_plan_takes_over_to_the_microsecond(ledger: Ledger) -> None:
    assign(ledger, "pro")
    assign(ledger, "basic")
    for at, code, waiting in [
        (midnight(1) - TICK, "pro", "basic"),
        (midnight(1), "basic", None),
        (midnight(2), "basic", None),
    ]:
        (row,) = ledger.execute("select * from pgledger._plan_now('a', %s)", [at]).fetchall()
        assert (row["plan"], row["next_plan"]) == (code, waiting)
        assert (row["starts_at"] == midnight(1)) == (code == "basic")


def test_the_last_word_is_the_plan_that_takes_over(ledger: Ledger) -> None:
    assign(ledger, "pro")
    assign(ledger, "basic")
    plan(ledger, "free", 1)
    assign(ledger, "free")
    assert on(ledger) == ("pro", midnight(1), "free")


def test_all_that_was_missed_is_of_the_plan_that_took_over(ledger: Ledger) -> None:
    plan(ledger, "add", 7, policy="ADD")
    assign(ledger, "pro")
    assign(ledger, "add")
    let_days_pass(ledger, 3)
    ask(ledger, "set_limits", account_id="a", min_balance=0)
    assert refills(ledger)[1:] == [(f"add-{today(days)}", 7) for days in (-2, -1, 0)]
    assert in_order(ledger)


def test_a_plan_of_the_account_counts_from_where_it_took_over(ledger: Ledger) -> None:
    plan(ledger, "trial", 5, anchor="ACCOUNT", period="3 days", policy="ADD")
    assign(ledger, "pro")
    assign(ledger, "trial")
    let_days_pass(ledger, 5)
    assert on(ledger) == ("trial", midnight(2), None)
    row = assign(ledger, "trial")
    assert (row["starts_at"], row["refill_at"]) == (midnight(-4), midnight(2))
    assert refills(ledger)[1:] == [(f"trial-{today(-4)}", 5), (f"trial-{today(-1)}", 5)]
    assert in_order(ledger)


def test_a_plan_of_the_calendar_takes_over_in_the_middle_of_its_period(ledger: Ledger) -> None:
    plan(ledger, "trial", 5, anchor="ACCOUNT", period="1 day")
    began = assign(ledger, "trial")["starts_at"]
    assign(ledger, "pro")
    assert on(ledger) == ("trial", began + DAY, "pro")
    let_days_pass(ledger, 1)
    assert credits_left(ledger) == 100
    row = assign(ledger, "pro")
    assert (row["starts_at"], row["refill_at"]) == (began, midnight(1))
    (newest, *_) = ask_all(ledger, "history", account_id="a")
    assert (newest["key"], newest["created_at"]) == (f"#refill-pro-{today()}", began)
    assert in_order(ledger)


def test_a_plan_that_has_not_begun_gives_way_to_another(ledger: Ledger) -> None:
    starts_at = midnight(1) + HOUR
    assign(ledger, "pro", starts_at=starts_at)
    assign(ledger, "basic")
    assert on(ledger) == ("pro", starts_at, "basic")
    let_days_pass(ledger, 2)
    ask(ledger, "set_limits", account_id="a", min_balance=0)
    assert refills(ledger) == [(f"basic-{today()}", 10)]


# At once


def test_another_plan_at_once_keeps_what_is_left(ledger: Ledger) -> None:
    began = assign(ledger, "pro")["starts_at"]
    ask(ledger, "spend", account_id="a", amount=30)
    row = assign(ledger, "basic", at_once=True)
    assert row.pop("starts_at") > began
    assert row == {
        "account_id": "a",
        "plan": "basic",
        "refill_at": midnight(1),
        "next_plan": None,
    }
    assert credits_left(ledger) == 80
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 10
    assert in_order(ledger)
    let_days_pass(ledger, 1)
    assert credits_left(ledger) == 10


def test_another_plan_at_once_can_expire_what_is_left(ledger: Ledger) -> None:
    ask(ledger, "top_up", account_id="a", amount=1)
    assign(ledger, "pro")
    ask(ledger, "spend", account_id="a", amount=30)
    row = assign(ledger, "basic", at_once=True, expire_allowance=True)
    assert credits_left(ledger) == 11
    assert journal(ledger)[3:] == [("EXPIRY", -70), ("GRANT", 10)]
    assert row["starts_at"] >= ask_all(ledger, "history", account_id="a")[1]["created_at"]
    assert in_order(ledger)


def test_what_other_policies_granted_is_no_allowance_to_expire(ledger: Ledger) -> None:
    plan(ledger, "add", 7, policy="ADD")
    assign(ledger, "add")
    assign(ledger, "basic", at_once=True, expire_allowance=True)
    assert credits_left(ledger) == 17


def test_the_allowance_of_another_plan_is_kept(ledger: Ledger) -> None:
    plan(ledger, "free", 1)
    assign(ledger, "pro")
    assign(ledger, "basic", at_once=True)
    assign(ledger, "free", at_once=True, expire_allowance=True)
    assert credits_left(ledger) == 101


def test_an_account_without_a_plan_has_no_allowance_to_expire(ledger: Ledger) -> None:
    assign(ledger, "pro", at_once=True, expire_allowance=True)
    assert journal(ledger) == [("GRANT", 100)]
    assert in_order(ledger)


def test_at_once_drops_a_change_that_waits(ledger: Ledger) -> None:
    plan(ledger, "free", 1)
    assign(ledger, "pro")
    assign(ledger, "basic")
    assign(ledger, "free", at_once=True)
    assert on(ledger) == ("free", midnight(1), None)


def test_at_once_the_account_counts_anew(ledger: Ledger) -> None:
    plan(ledger, "trial", 5, anchor="ACCOUNT", period="3 days")
    assign(ledger, "pro")
    row = assign(ledger, "trial", at_once=True)
    assert row["refill_at"] == row["starts_at"] + 3 * DAY


def test_a_plan_that_has_not_begun_can_be_replaced_at_once(ledger: Ledger) -> None:
    assign(ledger, "pro", starts_at=midnight(1) + HOUR)
    assign(ledger, "basic", at_once=True, expire_allowance=True)
    assert on(ledger) == ("basic", midnight(1), None)
    assert journal(ledger) == [("GRANT", 10)]


def test_the_allowance_of_a_plan_of_the_account_is_found(ledger: Ledger) -> None:
    plan(ledger, "trial", 5, anchor="ACCOUNT", period="3 days")
    ask(ledger, "open_account", account_id="b")
    for account_id, days in (("b", 1), ("a", 2)):
        starts_at = datetime.now(UTC) - days * DAY
        ask(ledger, "assign_plan", account_id=account_id, plan="trial", starts_at=starts_at)
        assert ask(ledger, "get_plan", account_id=account_id)["allowance_left"] == 5
    assign(ledger, "pro", at_once=True, expire_allowance=True)
    assert journal(ledger) == [("GRANT", 5), ("EXPIRY", -5), ("GRANT", 100)]


def test_a_week_of_the_calendar_is_none_of_the_account(ledger: Ledger) -> None:
    plan(ledger, "weekly", 5, period="7 days")
    wednesday = next(days for days in range(-7, 0) if today(days).weekday() == 2)
    monday = -today().weekday()
    assign(ledger, "weekly", starts_at=midnight(wednesday))
    assert refills(ledger) == [(f"weekly-{today(monday)}", 5)]
    for _ in range(2):
        row = ask(ledger, "get_plan", account_id="a")
        assert (row["refill_at"], row["allowance_left"]) == (midnight(monday + 7), 5)
        let_days_pass(ledger, 7)
    assign(ledger, "pro", at_once=True, expire_allowance=True)
    assert journal(ledger)[-2:] == [("EXPIRY", -5), ("GRANT", 100)]


# What is due


def test_a_plan_moves_on_when_its_refill_is_due_and_not_before(ledger: Ledger) -> None:
    ask(ledger, "open_account", account_id="b")
    ask(ledger, "assign_plan", account_id="b", plan="pro", starts_at=midnight(3) + HOUR)
    assign(ledger, "pro")
    assign(ledger, "basic")

    def moved(account_id: str, at: datetime) -> tuple[str, datetime, str | None]:
        value(ledger, "_advance_plan", account_id=account_id, at=at)
        (row,) = ledger.execute(
            "select * from pgledger.account_plans where account_id = %s", [account_id]
        ).fetchall()
        return row["plan"], row["refill_at"], row["next_plan"]

    assert moved("a", midnight(1) - TICK) == ("pro", midnight(1), "basic")
    assert moved("a", midnight(1)) == ("basic", midnight(2), None)
    assert moved("a", midnight(9) + HOUR) == ("basic", midnight(10), None)
    assert moved("b", midnight(3)) == ("pro", midnight(3) + HOUR, None)
    assert moved("b", midnight(3) + HOUR) == ("pro", midnight(4), None)


def test_what_is_due_of_the_old_plan_comes_first(ledger: Ledger) -> None:
    plan(ledger, "add", 7, policy="ADD")
    assign(ledger, "add")
    let_days_pass(ledger, 2)
    assign(ledger, "pro", at_once=True)
    assert refills(ledger) == [
        (f"add-{today(-2)}", 7),
        (f"add-{today(-1)}", 7),
        (f"add-{today()}", 7),
        (f"pro-{today()}", 100),
    ]
    assert in_order(ledger)


def test_a_spend_waits_for_no_job_to_see_a_plan_that_begins(ledger: Ledger) -> None:
    ask(ledger, "top_up", account_id="a", amount=5)
    assign(ledger, "pro", starts_at=midnight(1))
    (row,) = ledger.execute("select attention_at from pgledger.balances").fetchall()
    assert row["attention_at"] == midnight(1)
    let_days_pass(ledger, 1)
    assert ask(ledger, "spend", account_id="a", amount=1)["available"] == 104


def test_a_plan_that_begins_later_leaves_what_is_due_before(ledger: Ledger) -> None:
    ask(ledger, "top_up", account_id="a", amount=5)
    soon = datetime.now(UTC) + timedelta(minutes=1)
    ask(ledger, "hold", account_id="a", amount=5, key="h", expires_at=soon)
    ask(ledger, "open_account", account_id="b")
    assign(ledger, "pro", starts_at=midnight(1))
    found = ledger.execute(
        "select nullif(attention_at, 'infinity') as at from pgledger.balances order by account_id"
    ).fetchall()
    assert [row["at"] for row in found] == [soon, None]


# Misuse


def test_what_a_plan_cannot_be_assigned_to_is_refused(ledger: Ledger) -> None:
    refused(ledger, "LG003", "assign_plan", account_id="nobody", plan="pro")
    refused(ledger, "22023", "assign_plan", account_id="", plan="pro")
    refused(ledger, "22004", "assign_plan", account_id=None, plan="pro")


def test_a_closed_account_is_on_no_plan(ledger: Ledger) -> None:
    ask(ledger, "set_account_status", account_id="a", status="CLOSED")
    details = refused(ledger, "LG004", "assign_plan", account_id="a", plan="pro")
    assert details == {"account_id": "a", "key": None, "status": "CLOSED"}


@pytest.mark.parametrize(
    ("sqlstate", "parameter", "given"),
    [
        ("22023", "plan", {"plan": "none"}),
        ("22004", "plan", {"plan": None}),
        ("22004", "at_once", {"at_once": None}),
        ("22004", "expire_allowance", {"expire_allowance": None}),
        ("22023", "expire_allowance", {"expire_allowance": True}),
        ("22023", "starts_at", {"starts_at": "infinity"}),
        ("22023", "starts_at", {"starts_at": "-infinity"}),
        ("22023", "starts_at", {"starts_at": "0001-12-31 23:59Z"}),
        ("22023", "starts_at", {"starts_at": "9000-01-01 00:01Z"}),
        ("22023", "starts_at", {"starts_at": "2024-01-01Z", "at_once": True}),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(
    ledger: Ledger, sqlstate: str, parameter: str, given: dict[str, Any]
) -> None:
    call = {"account_id": "a", "plan": "pro"} | given
    assert refused(ledger, sqlstate, "assign_plan", **call)["parameter"] == parameter


@pytest.mark.parametrize("starts_at", ["0002-01-01Z", "8999-12-31Z"])
def test_a_plan_begins_within_some_thousands_of_years(ledger: Ledger, starts_at: str) -> None:
    ledger.execute("select pgledger.assign_plan('a', 'pro', %s)", [starts_at])
    assert in_order(ledger)


def test_the_start_of_an_account_on_a_plan_is_settled(ledger: Ledger) -> None:
    starts_at = datetime.now(UTC) - DAY
    assign(ledger, "pro", starts_at=starts_at)
    for code, other in [("pro", starts_at + TICK), ("basic", starts_at), ("basic", midnight(3))]:
        details = refused(
            ledger, "22023", "assign_plan", account_id="a", plan=code, starts_at=other
        )
        assert details["parameter"] == "starts_at"


def test_a_plan_in_use_stays(ledger: Ledger) -> None:
    assign(ledger, "pro")
    assign(ledger, "basic")
    for code in ("pro", "basic"):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            ledger.execute("delete from pgledger.plans where code = %s", [code])
    with pytest.raises(psycopg.errors.CheckViolation):
        ledger.execute("update pgledger.account_plans set next_plan = 'pro'")


def test_get_plan_asks_for_an_account(ledger: Ledger) -> None:
    refused(ledger, "22004", "get_plan", account_id=None)
    refused(ledger, "22023", "get_plan", account_id="")
    assert ask_all(ledger, "get_plan", account_id="nobody") == []


def test_who_changes_a_plan_waits_for_who_spends(ledger: Ledger, connect: Connect) -> None:
    assign(ledger, "pro")
    first, second = connect(autocommit=False), connect()
    ask(first, "spend", account_id="a", amount=30)
    second.execute("set lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        ask(second, "assign_plan", account_id="a", plan="basic", at_once=True)
    first.commit()
    ask(second, "assign_plan", account_id="a", plan="basic", at_once=True, expire_allowance=True)
    assert journal(ledger)[2:] == [("EXPIRY", -70), ("GRANT", 10)]


def test_the_allowance_left_is_what_can_be_drawn(ledger: Ledger) -> None:
    assign(ledger, "pro")

    def left() -> object:
        return ask(ledger, "get_plan", account_id="a")["allowance_left"]

    assert left() == 100
    ask(ledger, "spend", account_id="a", amount=30)
    assert left() == 70
    ask(ledger, "hold", account_id="a", amount=20, key="h")
    assert left() == 50
    # Another lot comes first, so the allowance is not the head.
    ask(ledger, "grant_credits", account_id="a", amount=5, priority=-1)
    assert left() == 50
    ask(ledger, "release", account_id="a", key="h")
    assert left() == 70
    ask(ledger, "spend", account_id="a", amount=75)
    assert left() == 0
