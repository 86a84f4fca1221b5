"""What a plan grants, and when: exact and lazy, once per period, whoever comes by."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.plans import DAY, TICK, let_days_pass, midnight, plan, refills, today
from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    everything,
    in_order,
    journal,
    posted,
    value,
)

POLICIES = ["ADD", "TOP_UP_TO", "RESET"]


@pytest.fixture
def ledger(db: Ledger) -> Ledger:
    """An account without credits."""
    ask(db, "open_account", account_id="a")
    return db


def assign(db: Ledger, code: str = "pro", **given: object) -> dict[str, Any]:
    return ask(db, "assign_plan", account_id="a", plan=code, **given)


def settle(db: Ledger) -> None:
    """Let what is due be posted by something that posts nothing itself."""
    ask(db, "set_limits", account_id="a", min_balance=0)


def due(db: Ledger, at: datetime) -> list[tuple[datetime, str]]:
    """Return when each refill fell due, and its key without what all have in common."""
    found = db.execute("select due_at, key from pgledger._refills_due('a', %s, false)", [at])
    return [(row["due_at"], row["key"].removeprefix("#refill-")) for row in found]


# What one refill is


@pytest.mark.parametrize("policy", POLICIES)
def test_the_period_that_holds_now_is_granted_at_once(ledger: Ledger, policy: str) -> None:
    plan(ledger, policy=policy)
    before = datetime.now(UTC)
    on = assign(ledger)
    assert on["refill_at"] == midnight(1)
    (row,) = ask_all(ledger, "history", account_id="a")
    assert row["key"] == f"#refill-pro-{today()}"
    assert (row["type"], row["amount"], row["requested_amount"]) == ("GRANT", 100, 100)
    assert row["created_at"] >= before
    assert row["created_at"] == on["starts_at"]
    assert row["metadata"] == {
        "plan": "pro",
        "period_start": f"{midnight():%Y-%m-%dT%H:%M:%S.%fZ}",
        "period_end": f"{midnight(1):%Y-%m-%dT%H:%M:%S.%fZ}",
    }
    assert (row["reference"], row["external_id"], row["original_seq"]) == (None, None, None)
    assert in_order(ledger)


def test_only_a_reset_forms_a_lot_which_ends_with_the_period(ledger: Ledger) -> None:
    for policy in POLICIES:
        plan(ledger, policy, policy=policy, amount=1000)
        ask(ledger, "open_account", account_id=policy)
        ask(ledger, "assign_plan", account_id=policy, plan=policy)
    (lot,) = ledger.execute("select * from pgledger.lots").fetchall()
    assert (lot["account_id"], lot["seq"], lot["amount"]) == ("RESET", 1, 1000)
    assert (lot["priority"], lot["expires_at"]) == (0, midnight(1))
    assert in_order(ledger)


def test_a_refill_falls_due_to_the_microsecond(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    assert due(ledger, midnight(1) - TICK) == []
    assert due(ledger, midnight(1)) == [(midnight(1), f"pro-{today(1)}")]
    assert due(ledger, midnight(2) - TICK) == [(midnight(1), f"pro-{today(1)}")]


def test_what_is_due_tells_all_of_a_refill(ledger: Ledger) -> None:
    plan(ledger, policy="ADD", amount=5)
    plan(ledger, "fill", policy="TOP_UP_TO", amount=6)
    plan(ledger, "fresh", policy="RESET", amount=7)
    for account_id, code, ends_at in [
        ("a", "pro", None),
        ("b", "fill", None),
        ("c", "fresh", midnight(2)),
    ]:
        ask(ledger, "open_account", account_id=account_id)
        ask(ledger, "assign_plan", account_id=account_id, plan=code)
        (row,) = ledger.execute(
            "select due_at, key, policy, amount, nullif(expires_at, 'infinity') as expires_at,"
            " metadata from pgledger._refills_due(%s, %s, false)",
            [account_id, midnight(1) + DAY / 2],
        ).fetchall()
        assert row == {
            "due_at": midnight(1),
            "key": f"#refill-{code}-{today(1)}",
            "policy": {"pro": "ADD", "fill": "TOP_UP_TO", "fresh": "RESET"}[code],
            "amount": {"pro": 5, "fill": 6, "fresh": 7}[code],
            "expires_at": ends_at,
            "metadata": {
                "plan": code,
                "period_start": f"{midnight(1):%Y-%m-%dT%H:%M:%S.%fZ}",
                "period_end": f"{midnight(2):%Y-%m-%dT%H:%M:%S.%fZ}",
            },
        }


def test_without_a_plan_nothing_is_due(ledger: Ledger) -> None:
    assert due(ledger, datetime.now(UTC)) == []


# Lazy


@pytest.mark.parametrize("policy", POLICIES)
def test_a_refill_counts_before_it_is_posted(ledger: Ledger, policy: str) -> None:
    plan(ledger, policy=policy)
    assign(ledger)
    ask(ledger, "spend", account_id="a", amount=30)
    let_days_pass(ledger, 1)
    left = 170 if policy == "ADD" else 100
    assert value(ledger, "get_credits", account_id="a") == left
    assert ask(ledger, "get_balance", account_id="a")["balance"] == left
    assert value(ledger, "check_credits", account_id="a", required=left)
    assert not value(ledger, "check_credits", account_id="a", required=left + 1)
    assert refills(ledger) == [(f"pro-{today(-1)}", 100)]
    ask(ledger, "spend", account_id="a", amount=left)
    assert value(ledger, "get_credits", account_id="a") == 0
    assert refills(ledger)[1:] == [(f"pro-{today()}", 30 if policy == "TOP_UP_TO" else 100)]
    assert in_order(ledger)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_refill_is_posted_as_of_the_instant_it_fell_due(ledger: Ledger, policy: str) -> None:
    plan(ledger, policy=policy)
    assign(ledger)
    ask(ledger, "spend", account_id="a", amount=30)
    let_days_pass(ledger, 1)
    settle(ledger)
    (row,) = ask_all(ledger, "history", account_id="a", limit_count=1)
    assert row["created_at"] == midnight()
    left = 170 if policy == "ADD" else 100
    assert value(ledger, "balance_at", account_id="a", at=midnight() - TICK) == 70
    assert value(ledger, "balance_at", account_id="a", at=midnight()) == left
    assert in_order(ledger)


def test_settling_twice_grants_once(ledger: Ledger) -> None:
    plan(ledger, policy="ADD")
    assign(ledger)
    let_days_pass(ledger, 1)
    settle(ledger)
    before = everything(ledger)
    settle(ledger)
    assert everything(ledger) == before
    assert posted(ledger, "a") == [100, 100]


def test_run_due_refills(ledger: Ledger) -> None:
    plan(ledger, policy="ADD")
    assign(ledger)
    let_days_pass(ledger, 1)
    ask_all(ledger, "run_due")
    assert posted(ledger, "a") == [100, 100]
    assert in_order(ledger)


# What each policy does


def test_add_grants_what_is_left_and_more(ledger: Ledger) -> None:
    plan(ledger, policy="ADD")
    assign(ledger)
    let_days_pass(ledger, 3)
    assert value(ledger, "get_credits", account_id="a") == 400
    settle(ledger)
    assert refills(ledger) == [(f"pro-{today(days)}", 100) for days in (-3, -2, -1, 0)]
    assert [row["created_at"] for row in ask_all(ledger, "history", account_id="a")][:3] == [
        midnight(),
        midnight(-1),
        midnight(-2),
    ]
    assert in_order(ledger)


def test_top_up_to_fills_up_once_however_long_it_was(ledger: Ledger) -> None:
    plan(ledger, policy="TOP_UP_TO")
    assign(ledger)
    ask(ledger, "spend", account_id="a", amount=70)
    let_days_pass(ledger, 3)
    assert value(ledger, "get_credits", account_id="a") == 100
    settle(ledger)
    assert refills(ledger) == [(f"pro-{today(-3)}", 100), (f"pro-{today()}", 70)]
    assert value(ledger, "balance_at", account_id="a", at=midnight() - TICK) == 30
    assert in_order(ledger)


@pytest.mark.parametrize("balance", [100, 101, 5000])
def test_top_up_to_adds_nothing_to_what_is_full(ledger: Ledger, balance: int) -> None:
    plan(ledger, policy="TOP_UP_TO")
    ask(ledger, "top_up", account_id="a", amount=balance)
    on = assign(ledger)
    assert on["refill_at"] == midnight(1)
    assert posted(ledger, "a") == [balance]
    let_days_pass(ledger, 1)
    assert value(ledger, "get_credits", account_id="a") == balance
    settle(ledger)
    assert ask(ledger, "get_plan", account_id="a")["refill_at"] == midnight(1)
    assert posted(ledger, "a") == [balance]


def test_top_up_to_pays_a_debt_as_well(ledger: Ledger) -> None:
    plan(ledger, policy="TOP_UP_TO")
    ask(
        ledger,
        "add_transaction",
        account_id="a",
        amount=-40,
        type="USAGE",
        fail_insufficient_credits=False,
    )
    assign(ledger)
    assert posted(ledger, "a") == [-40, 140]


def test_reset_starts_afresh_and_expires_what_was_left(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    ask(ledger, "spend", account_id="a", amount=30)
    let_days_pass(ledger, 3)
    assert value(ledger, "get_credits", account_id="a") == 100
    settle(ledger)
    assert journal(ledger) == [("GRANT", 100), ("USAGE", -30), ("EXPIRY", -70), ("GRANT", 100)]
    assert refills(ledger) == [(f"pro-{today(-3)}", 100), (f"pro-{today()}", 100)]
    newest_first = ask_all(ledger, "history", account_id="a")
    assert [row["created_at"] for row in newest_first[:2]] == [midnight(), midnight(-2)]
    assert value(ledger, "balance_at", account_id="a", at=midnight() - TICK) == 0
    assert in_order(ledger)


def test_an_allowance_and_its_successor_change_places_in_one_instant(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    let_days_pass(ledger, 1)
    settle(ledger)
    assert journal(ledger) == [("GRANT", 100), ("EXPIRY", -100), ("GRANT", 100)]
    for row in ask_all(ledger, "history", account_id="a", limit_count=2):
        assert row["created_at"] == midnight()


def test_what_was_bought_outlasts_an_allowance(ledger: Ledger) -> None:
    plan(ledger)
    ask(ledger, "top_up", account_id="a", amount=50)
    assign(ledger)
    ask(ledger, "spend", account_id="a", amount=90)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 10
    let_days_pass(ledger, 1)
    ask(ledger, "spend", account_id="a", amount=120)
    assert value(ledger, "get_credits", account_id="a") == 30
    let_days_pass(ledger, 1)
    assert value(ledger, "get_credits", account_id="a") == 130
    assert in_order(ledger)


def test_an_allowance_pays_a_debt_first(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    ask(
        ledger,
        "add_transaction",
        account_id="a",
        amount=-130,
        type="USAGE",
        fail_insufficient_credits=False,
    )
    let_days_pass(ledger, 1)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 70
    settle(ledger)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 70
    assert posted(ledger, "a") == [100, -130, 100]
    assert in_order(ledger)


def test_a_debt_can_eat_an_allowance_whole(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    ask(
        ledger,
        "add_transaction",
        account_id="a",
        amount=-250,
        type="USAGE",
        fail_insufficient_credits=False,
    )
    let_days_pass(ledger, 1)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 0
    settle(ledger)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 0
    assert value(ledger, "get_credits", account_id="a") == -50
    assert in_order(ledger)


def test_what_is_held_of_the_pool_is_no_debt_even_where_the_pool_is_short_of_it(
    ledger: Ledger,
) -> None:
    plan(ledger)
    ask(ledger, "top_up", account_id="a", amount=50)
    ask(ledger, "hold", account_id="a", amount=50, key="pool")
    assign(ledger)
    ask(ledger, "hold", account_id="a", amount=40, key="lot")
    ask(ledger, "spend", account_id="a", amount=60)
    let_days_pass(ledger, 1)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 100
    settle(ledger)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 100
    call = {"account_id": "a", "type": "USAGE", "fail_insufficient_credits": False}
    ask(ledger, "add_transaction", amount=-130, **call)
    let_days_pass(ledger, 1)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 100
    settle(ledger)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 100
    assert in_order(ledger)


@pytest.mark.parametrize(("debt", "left"), [(250, 50), (130, 100), (100, 100), (301, -1)])
@pytest.mark.parametrize("settled", ["each day", "at the end"])
def test_an_allowance_pays_a_debt_whatever_runs_between(
    ledger: Ledger, settled: str, debt: int, left: int
) -> None:
    plan(ledger, policy="RESET", anchor="ACCOUNT")
    ask(ledger, "set_limits", account_id="a", min_balance=0, debt_floor=-1000)
    assign(ledger)
    ask(ledger, "spend", account_id="a", amount=100 + debt, shortfall="DEBT")
    for _ in range(3):
        let_days_pass(ledger, 1)
        if settled == "each day":
            settle(ledger)
    # Each of three allowances pays what is owed when it falls due; the last one is there.
    assert ask(ledger, "get_balance", account_id="a")["balance"] == left
    settle(ledger)
    assert ask(ledger, "get_balance", account_id="a")["balance"] == left
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == max(left, 0)
    assert value(ledger, "balance_at", account_id="a", at="2999-01-01") == left
    assert in_order(ledger)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_the_range_of_bigint_has_no_room_for_is_not_granted(
    ledger: Ledger, policy: str
) -> None:
    plan(ledger, policy=policy, amount=HIGHEST)
    ask(ledger, "top_up", account_id="a", amount=HIGHEST - 5)
    assign(ledger)
    assert value(ledger, "get_credits", account_id="a") == HIGHEST
    assert refills(ledger) == [(f"pro-{today()}", 5)]
    let_days_pass(ledger, 1)
    assert value(ledger, "get_credits", account_id="a") == HIGHEST
    settle(ledger)
    assert value(ledger, "get_credits", account_id="a") == HIGHEST
    assert in_order(ledger)


def test_a_debt_beyond_the_range_of_bigint_is_not_filled_up_at_once(ledger: Ledger) -> None:
    plan(ledger, policy="TOP_UP_TO", amount=200)
    ask(ledger, "assign_plan", account_id="a", plan="pro")
    debt = {"account_id": "a", "type": "ADJUSTMENT", "fail_insufficient_credits": False}
    ask(ledger, "add_transaction", amount=-HIGHEST, **debt)
    ask(ledger, "add_transaction", amount=-201, **debt)
    let_days_pass(ledger, 1)
    assert value(ledger, "get_credits", account_id="a") == -1
    assert value(ledger, "run_due") == 1
    assert posted(ledger, "a")[-1] == HIGHEST
    let_days_pass(ledger, 1)
    assert value(ledger, "run_due") == 1
    assert (posted(ledger, "a")[-1], value(ledger, "get_credits", account_id="a")) == (201, 200)
    assert in_order(ledger)


# Once


@pytest.mark.parametrize("policy", POLICIES)
def test_a_period_is_granted_once_however_often_the_account_comes_back(
    ledger: Ledger, policy: str
) -> None:
    plan(ledger, policy=policy)
    plan(ledger, "basic", policy="ADD", amount=7)
    assign(ledger)
    assign(ledger, "basic", at_once=True)
    assign(ledger, at_once=True)
    ask_all(ledger, "clear_plan", account_id="a")
    on = assign(ledger)
    assert on["refill_at"] == midnight(1)
    assert refills(ledger) == [(f"pro-{today()}", 100), (f"basic-{today()}", 7)]
    assert in_order(ledger)


def test_missed_periods_are_granted_but_for_the_one_that_was(ledger: Ledger) -> None:
    plan(ledger, policy="ADD")
    assign(ledger)
    let_days_pass(ledger, 2)
    settle(ledger)
    assert len(refills(ledger)) == 3
    # Somebody turns the clock of the plan back: what was granted is not granted again.
    ledger.execute("update pgledger.account_plans set refill_at = %s", [midnight(-4)])
    assert due(ledger, datetime.now(UTC)) == [
        (midnight(-4), f"pro-{today(-4)}"),
        (midnight(-3), f"pro-{today(-3)}"),
    ]


def test_the_keys_of_one_account_are_no_keys_of_another(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    ask(ledger, "open_account", account_id="b")
    ask(ledger, "assign_plan", account_id="b", plan="pro")
    assert refills(ledger, "b") == refills(ledger)


# Periods of the account


def test_an_account_counts_from_where_it_began(ledger: Ledger) -> None:
    plan(ledger, policy="ADD", anchor="ACCOUNT", period="10 days")
    starts_at = datetime.now(UTC) - 25 * DAY
    on = assign(ledger, starts_at=starts_at)
    assert (on["starts_at"], on["refill_at"]) == (starts_at, starts_at + 30 * DAY)
    begun = starts_at + 20 * DAY
    (row,) = ask_all(ledger, "history", account_id="a")
    assert row["created_at"] > begun
    assert row["metadata"]["period_start"] == f"{begun:%Y-%m-%dT%H:%M:%S.%fZ}"
    let_days_pass(ledger, 10)
    settle(ledger)
    assert posted(ledger, "a") == [100, 100]
    (row, _) = ask_all(ledger, "history", account_id="a")
    assert row["created_at"] == begun
    assert in_order(ledger)


def test_a_period_that_clocks_skip_is_no_period_to_grant(ledger: Ledger) -> None:
    plan(ledger, policy="ADD", anchor="ACCOUNT", time_zone="Pacific/Apia")
    assign(ledger)
    noon = datetime(2011, 12, 28, 22, tzinfo=UTC)
    ledger.execute("update pgledger.account_plans set starts_at = %s, refill_at = %s", [noon] * 2)
    assert due(ledger, noon + 3 * DAY) == [
        (noon, "pro-2011-12-28"),
        (noon + DAY, "pro-2011-12-29"),
        (noon + 2 * DAY, "pro-2011-12-31"),
        (noon + 3 * DAY, "pro-2012-01-01"),
    ]


def test_two_periods_that_begin_on_one_date_have_two_keys(ledger: Ledger) -> None:
    # The clocks go forward at 23:00, so what was to begin at 23:30 begins at 00:30.
    plan(ledger, policy="ADD", anchor="ACCOUNT", time_zone="America/Godthab")
    assign(ledger)
    anchor = datetime(2021, 3, 26, 1, 30, tzinfo=UTC)
    ledger.execute("update pgledger.account_plans set starts_at = %s, refill_at = %s", [anchor] * 2)
    keys = [key for _, key in due(ledger, anchor + 3 * DAY)]
    assert keys == [f"pro-2021-03-{day}" for day in (25, 26, 27, 28)]


@pytest.mark.parametrize("policy", POLICIES)
def test_months_missed_count_by_the_last_of_january(ledger: Ledger, policy: str) -> None:
    plan(ledger, policy=policy, anchor="ACCOUNT", period="1 month", time_zone="Europe/Berlin")
    assign(ledger)
    anchor = datetime(2024, 1, 31, 9, tzinfo=UTC)
    march = datetime(2024, 3, 31, 8, tzinfo=UTC)
    ledger.execute(
        "update pgledger.account_plans set starts_at = %s, refill_at = %s",
        [anchor, datetime(2024, 2, 29, 9, tzinfo=UTC)],
    )
    found = due(ledger, march - TICK)
    assert found == [(datetime(2024, 2, 29, 9, tzinfo=UTC), "pro-2024-02-29")]
    found = due(ledger, march)
    assert found[-1] == (march, "pro-2024-03-31")
    assert len(found) == (2 if policy == "ADD" else 1)
    owing = ledger.execute("select key from pgledger._refills_due('a', %s, true)", [march])
    # Under RESET what is over may still have paid a debt.
    assert len(owing.fetchall()) == (1 if policy == "TOP_UP_TO" else 2)


# Status


def test_a_frozen_account_is_refilled(ledger: Ledger) -> None:
    plan(ledger)
    ask(ledger, "set_account_status", account_id="a", status="FROZEN")
    assign(ledger)
    assert value(ledger, "get_credits", account_id="a") == 100
    let_days_pass(ledger, 1)
    settle(ledger)
    assert journal(ledger) == [("GRANT", 100), ("EXPIRY", -100), ("GRANT", 100)]
    assert in_order(ledger)


def test_closing_an_account_takes_it_off_its_plan(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    ask(ledger, "spend", account_id="a", amount=100)
    ask(ledger, "set_account_status", account_id="a", status="CLOSED")
    assert ask_all(ledger, "get_plan", account_id="a") == []
    let_days_pass(ledger, 1)
    settle(ledger)
    assert value(ledger, "get_credits", account_id="a") == 0
    ask(ledger, "set_account_status", account_id="a", status="OPEN")
    assert value(ledger, "get_credits", account_id="a") == 0
    assert in_order(ledger)


def test_a_lost_balance_row_is_made_again_with_what_is_due(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    ask(ledger, "spend", account_id="a", amount=30)
    let_days_pass(ledger, 1)
    ledger.execute("delete from pgledger.balances")
    assert value(ledger, "get_credits", account_id="a") == 100
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 100
    ask(ledger, "spend", account_id="a", amount=100)
    assert journal(ledger)[2:] == [("EXPIRY", -70), ("GRANT", 100), ("USAGE", -100)]
    assert in_order(ledger)


# The auditor


def disturb(db: Ledger, *statements: str) -> list[str]:
    """Do what the ledger never does, and return which rules the auditor finds broken."""
    db.execute("alter table pgledger.transactions disable trigger transactions_append_only")
    for statement in statements:
        db.execute(statement)
    db.execute("alter table pgledger.transactions enable always trigger transactions_append_only")
    return [row["rule"] for row in ask_all(db, "_verify_plans", account_id="a")]


def test_the_auditor_is_content_with_each_policy_and_anchor(ledger: Ledger) -> None:
    for number, anchor in enumerate(("CALENDAR", "ACCOUNT")):
        for policy in POLICIES:
            account_id = f"{policy} {number}"
            plan(ledger, account_id, policy=policy, anchor=anchor)
            ask(ledger, "open_account", account_id=account_id)
            ask(ledger, "assign_plan", account_id=account_id, plan=account_id)
            assert ask_all(ledger, "_verify_plans", account_id=account_id) == []
    later = datetime.now(UTC) + timedelta(hours=1)
    plan(ledger)
    assign(ledger, starts_at=later)
    assert ask_all(ledger, "_verify_plans", account_id="a") == []
    assert in_order(ledger)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("a plan is of an account that is not closed", "delete from pgledger.accounts"),
        (
            "a plan is of an account that is not closed",
            "update pgledger.accounts set status = 'CLOSED'",
        ),
        (
            "a refill falls due when a period begins",
            "update pgledger.account_plans set refill_at = refill_at + interval '1 microsecond'",
        ),
        (
            "a refill falls due when a period begins",
            "update pgledger.account_plans set refill_at = refill_at + interval '300 days'",
        ),
        (
            "a refill is a grant of the plan in its key",
            "update pgledger.transactions set type = 'TOP_UP'",
        ),
        (
            "a refill is a grant of the plan in its key",
            "update pgledger.transactions set key = '#refill-else' || right(key, 11)",
        ),
        (
            "an allowance ends with its period, other refills do not",
            "update pgledger.lots set granted_expires_at = granted_expires_at - interval '1 min'",
        ),
        ("an allowance ends with its period, other refills do not", "delete from pgledger.lots"),
        (
            "what was granted is not due again",
            "update pgledger.transactions set created_at = (select refill_at from account_plans)",
        ),
    ],
)
def test_the_auditor_finds_what_is_wrong_with_a_plan(
    ledger: Ledger, rule: str, change: str
) -> None:
    plan(ledger)
    assign(ledger)
    assert disturb(ledger) == []
    ledger.execute("set search_path = pgledger")
    assert disturb(ledger, change) == [rule]


def test_the_auditor_looks_at_one_account(ledger: Ledger) -> None:
    plan(ledger)
    ask(ledger, "open_account", account_id="b")
    ask(ledger, "assign_plan", account_id="b", plan="pro")
    assert (
        disturb(
            ledger,
            "update pgledger.account_plans set refill_at = refill_at + interval '1 second'",
            "update pgledger.transactions set type = 'TOP_UP'",
        )
        == []
    )
    assert len(ask_all(ledger, "_verify_plans", account_id="b")) == 2


def test_the_auditor_finds_a_refill_of_no_plan(ledger: Ledger) -> None:
    plan(ledger, policy="ADD")
    assign(ledger)
    rule = "a refill is a grant of the plan in its key"
    assert disturb(ledger, "update pgledger.transactions set metadata = null") == [rule]
    assert disturb(ledger, """update pgledger.transactions set metadata = '{"plan": "x"}'""") == [
        rule
    ]


def test_the_auditor_finds_a_lot_that_a_refill_should_not_have_made(ledger: Ledger) -> None:
    plan(ledger, policy="ADD")
    assign(ledger)
    assert disturb(
        ledger,
        "insert into pgledger.lots (account_id, seq, priority, expires_at, amount, remaining,"
        " granted_expires_at) values ('a', 1, 0, 'infinity', 100, 100, 'infinity')",
    ) == ["an allowance ends with its period, other refills do not"]


def test_the_auditor_looks_at_plans(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    disturb(ledger, "update pgledger.account_plans set refill_at = refill_at + interval '1 second'")
    assert "a refill falls due when a period begins" in [
        row["rule"] for row in ask_all(ledger, "verify")
    ]


def test_an_allowance_ended_early_and_extended_by_a_reversal_is_in_order(ledger: Ledger) -> None:
    plan(ledger)
    plan(ledger, code="other", policy="ADD")
    assign(ledger)
    ask(ledger, "spend", account_id="a", amount=40, key="s")
    assign(ledger, "other", at_once=True, expire_allowance=True)
    ask(ledger, "reverse_transaction", account_id="a", original_key="s", extend="1 day")
    assert ask(ledger, "get_balance", account_id="a")["next_expiry_amount"] == 40
    assert in_order(ledger)


def test_what_an_expired_hold_gave_back_is_left_of_the_allowance(ledger: Ledger) -> None:
    plan(ledger, period="7 days")
    assign(ledger)
    ask(ledger, "hold", account_id="a", amount=30, expires_at=midnight(2))
    ask(ledger, "spend", account_id="a", amount=50)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 20
    ledger.execute(
        "update pgledger.pending_transactions set expires_at = clock_timestamp();"
        "update pgledger.balances set attention_at = clock_timestamp()"
    )
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 50
    settle(ledger)
    assert ask(ledger, "get_plan", account_id="a")["allowance_left"] == 50
    assert in_order(ledger)


def test_the_end_of_an_allowance_is_told_before_it_is_posted(ledger: Ledger) -> None:
    plan(ledger)
    assign(ledger)
    let_days_pass(ledger, 1)
    told = ask(ledger, "get_balance", account_id="a")
    assert (told["next_expiry_at"], told["next_expiry_amount"]) == (midnight(1), 100)
    settle(ledger)
    assert ask(ledger, "get_balance", account_id="a") == told
