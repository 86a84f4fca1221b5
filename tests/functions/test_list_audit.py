"""Who did what by hand: every act is in the audit log once, with who did it and what was asked."""

from typing import Any

import psycopg
import pytest

from tests.prices import set_price
from tests.support import (
    Ledger,
    ask,
    ask_all,
    everything,
    in_order,
    refused_as_row,
    replayed,
)

# Each act as a call that succeeds, and what of it stands in the log.
ACTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "set_account_status": (
        {"account_id": "a", "status": "FROZEN"},
        {"status": "FROZEN"},
    ),
    "set_limits": (
        {"account_id": "a", "min_balance": -5},
        {"min_balance": -5},
    ),
    "set_low_balance_level": ({"account_id": "a", "level": 7}, {"level": 7}),
    "set_auto_top_up": (
        {"account_id": "a", "threshold": 5, "amount": 20, "daily_count_limit": 3},
        {
            "threshold": 5,
            "amount": 20,
            "mode": "INTENT",
            "enabled": True,
            "daily_count_limit": 3,
        },
    ),
    "set_spending_cap": (
        {"account_id": "a", "amount": 50},
        {"amount": 50, "period": "1 mon", "time_zone": "UTC"},
    ),
    "assign_plan": (
        {"account_id": "a", "plan": "basic"},
        {"plan": "basic", "at_once": False, "expire_allowance": False},
    ),
    "clear_plan": ({"account_id": "a"}, {"expire_allowance": False}),
    "create_plan": (
        {"code": "pro", "amount": 10, "period": "1 month", "policy": "ADD", "metadata": {"x": 1}},
        {
            "code": "pro",
            "amount": 10,
            "period": "1 mon",
            "policy": "ADD",
            "anchor": "CALENDAR",
            "time_zone": "UTC",
        },
    ),
    "set_price": (
        {"code": "m", "prices": {"in": "0.5"}},
        {"code": "m", "prices": {"in": 0.5}, "rounding": "CEIL"},
    ),
    "refund": (
        {"account_id": "a", "original_key": "paid", "amount": 50, "external_id": "re_1"},
        {
            "original_key": "paid",
            "amount": 50,
            "key": "#4",
            "external_id": "re_1",
            "fail_insufficient_credits": True,
        },
    ),
    "reverse_transaction": (
        {"account_id": "a", "original_key": "spent", "amount": 4, "key": "r", "reference": "chat"},
        {"original_key": "spent", "amount": 4, "key": "r", "reference": "chat"},
    ),
    "revoke_lot": (
        {"account_id": "a", "key": "lot", "reason": "fraud"},
        {"key": "lot", "reason": "fraud"},
    ),
}
# What a repeat is: an act again, or nothing.
SETTERS = {
    "set_account_status",
    "set_limits",
    "set_low_balance_level",
    "set_auto_top_up",
    "set_spending_cap",
    "assign_plan",
    "clear_plan",
}


@pytest.fixture
def rich(db: Ledger) -> Ledger:
    """An account that every act can be done to, and nothing in the audit log but what made it."""
    ask(db, "top_up", account_id="a", amount=100, key="paid")
    ask(db, "spend", account_id="a", amount=10, key="spent")
    ask(db, "grant_credits", account_id="a", amount=5, key="lot", expires_at="2200-01-01")
    ask(db, "create_plan", code="basic", amount=1, period="1 day", policy="ADD", actor="setup")
    return db


def log(db: Ledger) -> list[dict[str, Any]]:
    return [row for row in ask_all(db, "list_audit") if row["actor"] != "setup"]


@pytest.mark.parametrize("act", ACTS)
def test_an_act_is_logged_once_with_its_actor_and_arguments(rich: Ledger, act: str) -> None:
    given, told = ACTS[act]
    ask_all(rich, act, **given, actor="ada")
    (row,) = log(rich)
    assert (row["act"], row["actor"], row["arguments"]) == (act, "ada", told)
    assert row["account_id"] == given.get("account_id", "")
    assert in_order(rich)


@pytest.mark.parametrize("act", ACTS)
def test_without_an_actor_it_is_the_role_that_is_logged_in(rich: Ledger, act: str) -> None:
    ask_all(rich, act, **ACTS[act][0])
    (row,) = log(rich)
    (me,) = rich.execute("select session_user::text as me")
    assert row["actor"] == me["me"]


@pytest.mark.parametrize("act", ACTS)
def test_a_repeat_is_an_act_of_a_setter_only(rich: Ledger, act: str) -> None:
    for actor in ("ada", "bob"):
        ask_all(rich, act, **ACTS[act][0], actor=actor)
    assert [row["actor"] for row in log(rich)] == (["bob", "ada"] if act in SETTERS else ["ada"])


@pytest.mark.parametrize("act", ACTS)
def test_what_was_rolled_back_was_not_done(rich: Ledger, act: str) -> None:
    with rich.transaction(force_rollback=True):
        ask_all(rich, act, **ACTS[act][0])
        assert len(log(rich)) == 1
    assert log(rich) == []


@pytest.mark.parametrize("act", ["refund", "reverse_transaction"])
def test_a_refusal_answered_as_a_row_is_no_act(rich: Ledger, act: str) -> None:
    original = {"refund": "paid", "reverse_transaction": "spent"}[act]
    refused_as_row(rich, "LG009", act, account_id="a", original_key=original, amount=101)
    assert log(rich) == []


def test_a_lot_with_nothing_free_is_no_act(rich: Ledger) -> None:
    ask(rich, "revoke_lot", account_id="a", key="lot", actor="ada")
    replayed(rich, "revoke_lot", account_id="a", key="lot")
    ask(rich, "grant_credits", account_id="a", amount=5, key="spent lot", priority=-1)
    ask(rich, "spend", account_id="a", amount=5)
    refused_as_row(rich, "LG009", "revoke_lot", account_id="a", key="spent lot")
    assert [row["actor"] for row in log(rich)] == ["ada"]


def test_closing_an_account_on_a_plan_is_one_act(db: Ledger) -> None:
    ask(db, "create_plan", code="p", amount=1, period="1 day", policy="ADD", actor="setup")
    ask(db, "open_account", account_id="a")
    ask(db, "assign_plan", account_id="a", plan="p", starts_at="2200-01-01", actor="setup")
    ask(db, "set_account_status", account_id="a", status="CLOSED")
    assert [row["act"] for row in log(db)] == ["set_account_status"]


def test_a_price_that_changes_nothing_is_no_act(db: Ledger) -> None:
    set_price(db, "m", {"in": 1}, actor="ada")
    assert not set_price(db, "m", {"in": 1}, actor="bob")["changed"]
    set_price(db, "m", {"in": 2}, actor="bob")
    assert [row["actor"] for row in log(db)] == ["bob", "ada"]


def test_movements_that_nobody_decides_on_are_not_acts(rich: Ledger) -> None:
    ask(rich, "hold", account_id="a", amount=5, key="h")
    ask(rich, "capture", account_id="a", key="h")
    ask(rich, "top_up", account_id="a", amount=5, key="p", is_active=False)
    ask(rich, "enable_transaction", account_id="a", key="p")
    ask(rich, "open_account", account_id="b")
    ask(rich, "transfer", from_account_id="a", to_account_id="b", amount=5)
    assert log(rich) == []


def test_it_is_filtered_by_account_act_and_actor(db: Ledger) -> None:
    for account_id in ("a", "b"):
        ask(db, "open_account", account_id=account_id)
        ask(db, "set_limits", account_id=account_id, min_balance=-1, actor="ada")
        ask(db, "set_low_balance_level", account_id=account_id, actor="bob")
    set_price(db, "m", {"in": 1}, actor="ada")

    def found(**given: object) -> list[tuple[str, str]]:
        return [(row["account_id"], row["act"]) for row in ask_all(db, "list_audit", **given)]

    assert len(found()) == 5
    assert found(account_id="a") == [("a", "set_low_balance_level"), ("a", "set_limits")]
    assert found(account_id="unknown") == []
    assert found(act="set_limits") == [("b", "set_limits"), ("a", "set_limits")]
    assert found(account_id="b", act="set_limits") == [("b", "set_limits")]
    assert found(actor="bob") == [("b", "set_low_balance_level"), ("a", "set_low_balance_level")]
    assert found(account_id="a", actor="ada") == [("a", "set_limits")]
    assert found(actor="ada", limit_count=1) == [("", "set_price")]


@pytest.mark.parametrize("given", [{}, {"account_id": "a"}])
def test_pages_follow_each_other_without_a_gap(db: Ledger, given: dict[str, object]) -> None:
    ask(db, "open_account", account_id="a")
    for level in range(7):
        ask(db, "set_low_balance_level", account_id="a", level=level)
    db.execute("alter table pgledger.audit_log disable trigger audit_log_append_only")
    # Three of them at one instant.
    db.execute(
        "update pgledger.audit_log set created_at = '2020-01-01'"
        " where (arguments ->> 'level')::int in (2, 3, 4)"
    )
    whole = ask_all(db, "list_audit", **given)
    paged: list[dict[str, Any]] = []
    while page := ask_all(
        db,
        "list_audit",
        **given,
        limit_count=2,
        **({"before_at": paged[-1]["created_at"], "before_id": paged[-1]["id"]} if paged else {}),
    ):
        paged += page
    assert paged == whole
    assert len(whole) == 7
    before = ask_all(db, "list_audit", **given, before_at="2020-01-01")
    assert before == []
    assert len(ask_all(db, "list_audit", **given, before_at=whole[3]["created_at"])) == 3


@pytest.mark.parametrize(
    "change",
    [
        "update pgledger.audit_log set actor = 'nobody'",
        "delete from pgledger.audit_log",
        "truncate pgledger.audit_log",
    ],
)
def test_what_was_done_stays_done(rich: Ledger, change: str) -> None:
    before = everything(rich), log(rich)
    with pytest.raises(psycopg.Error) as caught:
        rich.execute(change.encode())
    assert caught.value.sqlstate == "LG010"
    assert (everything(rich), log(rich)) == before
