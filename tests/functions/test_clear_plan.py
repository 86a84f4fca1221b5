"""clear_plan: what was granted stays, or expires where that is asked; nothing more comes."""

import pytest

from tests.plans import let_days_pass, midnight, plan, refills, today
from tests.support import (
    Ledger,
    ask,
    ask_all,
    everything,
    in_order,
    journal,
    refused,
    value,
)


@pytest.fixture
def ledger(db: Ledger) -> Ledger:
    """An account on a plan with a daily allowance, some of it spent."""
    ask(db, "open_account", account_id="a")
    plan(db)
    ask(db, "top_up", account_id="a", amount=1)
    ask(db, "assign_plan", account_id="a", plan="pro")
    ask(db, "spend", account_id="a", amount=30)
    return db


def test_clearing_answers_with_what_the_account_was_on(ledger: Ledger) -> None:
    on = ask(ledger, "assign_plan", account_id="a", plan="pro")
    assert ask_all(ledger, "clear_plan", account_id="a") == [on]
    assert ask_all(ledger, "get_plan", account_id="a") == []


def test_what_was_granted_stays_until_it_expires(ledger: Ledger) -> None:
    ask_all(ledger, "clear_plan", account_id="a")
    assert value(ledger, "get_credits", account_id="a") == 71
    let_days_pass(ledger, 1)
    assert value(ledger, "get_credits", account_id="a") == 1
    ask(ledger, "spend", account_id="a", amount=1)
    assert refills(ledger) == [(f"pro-{today(-1)}", 100)]
    assert in_order(ledger)


def test_what_is_left_of_the_allowance_can_expire_at_once(ledger: Ledger) -> None:
    assert len(ask_all(ledger, "clear_plan", account_id="a", expire_allowance=True)) == 1
    assert value(ledger, "get_credits", account_id="a") == 1
    assert journal(ledger)[-1] == ("EXPIRY", -70)
    assert in_order(ledger)


def test_there_may_be_no_allowance_to_expire(ledger: Ledger) -> None:
    plan(ledger, "add", policy="ADD")
    ask_all(ledger, "clear_plan", account_id="a")
    ask(ledger, "assign_plan", account_id="a", plan="add")
    ask_all(ledger, "clear_plan", account_id="a", expire_allowance=True)
    assert value(ledger, "get_credits", account_id="a") == 171


def test_what_is_due_is_granted_before(ledger: Ledger) -> None:
    let_days_pass(ledger, 1)
    (on,) = ask_all(ledger, "clear_plan", account_id="a")
    assert on["refill_at"] == midnight(1)
    assert value(ledger, "get_credits", account_id="a") == 101
    assert in_order(ledger)


def test_a_change_that_waits_goes_too(ledger: Ledger) -> None:
    plan(ledger, "basic", 10)
    ask(ledger, "assign_plan", account_id="a", plan="basic")
    (on,) = ask_all(ledger, "clear_plan", account_id="a")
    assert on["next_plan"] == "basic"
    let_days_pass(ledger, 1)
    assert value(ledger, "get_credits", account_id="a") == 1


@pytest.mark.parametrize("expire", [False, True])
def test_a_repeat_changes_nothing(ledger: Ledger, expire: bool) -> None:  # noqa: FBT001
    ask_all(ledger, "clear_plan", account_id="a", expire_allowance=expire)
    before = everything(ledger)
    assert ask_all(ledger, "clear_plan", account_id="a", expire_allowance=expire) == []
    assert everything(ledger) == before


def test_only_this_account_is_cleared(ledger: Ledger) -> None:
    ask(ledger, "open_account", account_id="b")
    ask(ledger, "assign_plan", account_id="b", plan="pro")
    ask_all(ledger, "clear_plan", account_id="a", expire_allowance=True)
    assert ask(ledger, "get_plan", account_id="b")["allowance_left"] == 100


def test_what_is_held_of_an_ended_allowance_expires_when_it_is_released(ledger: Ledger) -> None:
    ask(ledger, "hold", account_id="a", amount=20, key="h")
    ask_all(ledger, "clear_plan", account_id="a", expire_allowance=True)
    assert journal(ledger)[-1] == ("EXPIRY", -50)
    ask(ledger, "release", account_id="a", key="h")
    assert journal(ledger)[-1] == ("EXPIRY", -20)
    assert in_order(ledger)


def test_misuse_is_refused(ledger: Ledger) -> None:
    refused(ledger, "LG003", "clear_plan", account_id="nobody")
    refused(ledger, "22023", "clear_plan", account_id="")
    refused(ledger, "22004", "clear_plan", account_id=None)
    details = refused(ledger, "22004", "clear_plan", account_id="a", expire_allowance=None)
    assert details["parameter"] == "expire_allowance"
