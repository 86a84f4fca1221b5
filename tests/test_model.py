"""The model of the ledger by itself: the state machine goes by it, so it must be right."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.model import Account, transfer
from tests.model_plans import Cap, Plan
from tests.model_records import Misused, Refused, Request

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def account(*lots: tuple[int, timedelta | None, int], pool: int = 0) -> Account:
    """An account with lots: so many credits each, for how long, of what priority."""
    one = Account(now=NOON)
    if pool:
        one.add(Request(amount=pool, type="GRANT"))
    for amount, lives, priority in lots:
        ends_at = None if lives is None else NOON + lives
        one.add(Request(amount=amount, type="GRANT", expires_at=ends_at, priority=priority))
    return one


def debit(one: Account, amount: int, **given: object) -> list[tuple[int | None, int]]:
    request = Request(amount=-amount, type="USAGE", **given)  # type: ignore[arg-type]
    return one.add(request).movement.parts


def journal(one: Account) -> list[tuple[str, int, datetime]]:
    return [(m.type, m.amount, m.at) for m in one.posted]


def left(one: Account) -> dict[int, int]:
    return {lot.seq: lot.remaining for lot in one.purse.lots.values()}


def test_lots_pay_by_priority_then_expiry_then_age_and_the_pool_before_priority_1() -> None:
    one = account(
        *((5, DAY, 1), (5, 2 * DAY, 0), (5, DAY, 0), (5, DAY, 0), (5, None, -1)),
        pool=5,
    )
    assert debit(one, 30) == [(6, 5), (4, 5), (5, 5), (3, 5), (None, 5), (2, 5)]
    assert one.balance == 0


def test_what_nobody_covers_is_the_pools_and_is_paid_before_a_lot_is_formed() -> None:
    one = account((5, DAY, 0), pool=3)
    assert debit(one, 10, shortfall="FORCE") == [(2, 5), (None, 5)]
    one.add(Request(amount=6, type="GRANT", expires_at=NOON + DAY))
    assert (one.purse.pool, left(one)) == (0, {2: 0, 4: 4})


def test_credits_expire_at_their_instant_whoever_looks_when() -> None:
    one = account((5, HOUR, 0), pool=3)
    one.now = NOON + HOUR - timedelta(microseconds=1)
    assert one.seen().balance == 8
    one.now = NOON + HOUR
    assert (one.seen().balance, one.balance) == (3, 8)
    one.now = NOON + DAY
    debit(one, 1)
    assert journal(one)[2:] == [("EXPIRY", -5, NOON + HOUR), ("USAGE", -1, NOON + DAY)]


def test_what_a_hold_reserves_expires_when_it_comes_back() -> None:
    one = account((5, HOUR, 0), (5, 2 * HOUR, 0), pool=3)
    held = Request(amount=-7, type="USAGE", key="h", announced=True, expires_at=NOON + 3 * HOUR)
    one.add(held)
    one.now = NOON + DAY
    one.settle()
    assert journal(one)[3:] == [
        ("EXPIRY", -3, NOON + 2 * HOUR),
        ("EXPIRY", -5, NOON + 3 * HOUR),
        ("EXPIRY", -2, NOON + 3 * HOUR),
    ]


def test_a_capture_takes_what_it_reserved_in_order() -> None:
    one = account((5, HOUR, 0), pool=3)
    one.add(Request(amount=-7, type="USAGE", key="h", announced=True))
    one.now = NOON + DAY
    captured = one.enable("h", amount=4, external_id=None, metadata={})
    assert captured.movement.parts == [(2, 4)]
    assert journal(one)[-1] == ("EXPIRY", -1, NOON + DAY)
    assert one.available == 3


def test_a_reversal_gives_back_last_drawn_first_and_what_is_over_expires() -> None:
    one = account((5, HOUR, 0), (5, DAY, 0), pool=3)
    debit(one, 12, key="k")
    for amount, parts in [(3, [(None, -2), (3, -1)]), (6, [(3, -4), (2, -2)])]:
        one.now += HOUR
        undone = one.undo(Request(amount=0, type="REVERSAL", shortfall="FORCE"), "k", amount)
        assert undone.movement.parts == parts
    assert journal(one)[-1] == ("EXPIRY", -2, NOON + 2 * HOUR)
    extended = Request(amount=0, type="REVERSAL", shortfall="FORCE", extend=DAY)
    one.undo(extended, "k", None)
    assert one.purse.lots[2].expires_at == NOON + 2 * HOUR + DAY
    assert left(one) == {2: 3, 3: 5}


def test_the_reversal_of_a_credit_takes_its_own_lot_and_no_more_than_is_not_gone() -> None:
    one = account((5, DAY, 0), (9, HOUR, 1))
    undo = Request(amount=0, type="REVERSAL", shortfall="FORCE")
    assert one.undo(undo, "#2", 2).movement.parts == [(2, 2)]
    debit(one, 8)
    one.now += HOUR
    with pytest.raises(Refused, match="LG009"):
        one.undo(undo, "#2", 4)
    assert one.undo(undo, "#2", None).movement.parts == [(None, 3)]


def test_what_is_revoked_stays_away() -> None:
    one = account((5, DAY, 0))
    debit(one, 2, key="k")
    one.revoke_lot("#1", "a mistake")
    one.undo(Request(amount=0, type="REVERSAL"), "k", None)
    assert journal(one)[2:] == [("REVERSAL", -3, NOON), ("REVERSAL", 2, NOON), ("EXPIRY", -2, NOON)]


def test_refills_fall_due_one_by_one_or_only_the_last() -> None:
    for policy, granted in [("ADD", 30), ("TOP_UP_TO", 10), ("RESET", 20)]:
        plan = Plan(code="p", amount=10, period=DAY, policy=policy, anchor="ACCOUNT")
        one = Account(now=NOON)
        one.open(currency="CREDIT", min_balance=0)
        one.assign_plan(plan, starts_at=None, at_once=False, expire_allowance=False)
        assert one.posted[0].key == "#refill-p-2026-03-04"
        one.now += 2 * DAY + HOUR
        one.settle()
        assert sum(m.amount for m in one.posted if m.type == "GRANT") == granted
        assert one.posted[-1].at == NOON + (0 if policy == "TOP_UP_TO" else 2) * DAY
        assert one.balance == (30 if policy == "ADD" else 10)


def test_a_change_of_plan_waits_for_the_next_period_or_comes_at_once() -> None:
    trial = Plan(code="t", amount=5, period=DAY, policy="RESET", anchor="ACCOUNT")
    daily = Plan(code="d", amount=10, period=DAY, policy="RESET", anchor="CALENDAR")
    one = Account(now=NOON)
    one.open(currency="CREDIT", min_balance=0)
    one.assign_plan(trial, starts_at=None, at_once=False, expire_allowance=False)
    one.assign_plan(daily, starts_at=None, at_once=False, expire_allowance=False)
    one.now = NOON + DAY + HOUR
    one.settle()
    assert (one.posted[-1].key, one.posted[-1].at) == ("#refill-d-2026-03-05", NOON + DAY)
    one.assign_plan(trial, starts_at=None, at_once=True, expire_allowance=True)
    # Its key is that of its first day, which it had not been granted.
    assert [m.type for m in one.posted[-2:]] == ["EXPIRY", "GRANT"]
    assert one.balance == 5


def test_a_cap_counts_the_usage_of_its_period_and_gets_back_what_is_reversed() -> None:
    one = account(pool=100)
    one.set_cap(Cap(amount=10, period=DAY))
    debit(one, 8, key="k")
    with pytest.raises(Refused, match="LG008"):
        debit(one, 3)
    assert debit(one, 3, shortfall="PARTIAL") == [(None, 2)]
    one.undo(Request(amount=0, type="REVERSAL", shortfall="FORCE"), "k", 5)
    assert one.cap_left == 5
    one.now += DAY
    assert one.cap_left == 10


def test_a_transfer_goes_to_the_pool() -> None:
    one, other = account((5, DAY, 0)), account(pool=1)
    transfer(one, other, Request(amount=-4, type="TRANSFER"), "one")
    assert (left(one), other.purse.lots, other.balance) == ({1: 1}, {}, 5)


def test_an_end_in_the_past_is_a_misuse_but_not_of_a_repeat() -> None:
    one = account()
    asked = Request(amount=5, type="GRANT", key="k", expires_at=NOON + HOUR)
    one.add(asked)
    one.now += HOUR
    assert one.add(asked).replayed
    with pytest.raises(Misused):
        one.add(Request(amount=5, type="GRANT", expires_at=NOON + HOUR))
