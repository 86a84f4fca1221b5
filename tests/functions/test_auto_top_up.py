"""set_auto_top_up, get_auto_top_up and check_auto_top_up, and what debits and holds cause."""

from typing import Any

import pytest

from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    ask_all,
    events,
    everything,
    in_order,
    let_expire,
    pending,
    posted,
    refused,
    replayed,
    value,
    write_history,
)

SETTINGS = {
    "threshold": 50,
    "amount": 200,
    "mode": "INTENT",
    "enabled": True,
    "daily_count_limit": None,
    "daily_amount_limit": None,
    "monthly_count_limit": None,
    "monthly_amount_limit": None,
}
NOTHING_YET = {"intents": 0, "waiting_for": None, "resumes_at": None}


def arm(db: Ledger, **settings: object) -> dict[str, Any]:
    given = {"threshold": 50, "amount": 200} | settings
    return ask(db, "set_auto_top_up", account_id="a", **given)


def armed_below(db: Ledger) -> int | None:
    row = db.execute("select top_up_below from pgledger.balances where account_id = 'a'").fetchone()
    assert row
    return row["top_up_below"]  # type: ignore[no-any-return]


def waits_for(db: Ledger) -> str | None:
    return ask(db, "get_auto_top_up", account_id="a")["waiting_for"]  # type: ignore[no-any-return]


@pytest.fixture
def rich(db: Ledger) -> Ledger:
    """An account with 100 credits."""
    ask(db, "top_up", account_id="a", amount=100)
    return db


def test_settings_are_set_whole_and_told(rich: Ledger) -> None:
    limits = {
        "daily_count_limit": 2,
        "daily_amount_limit": 400,
        "monthly_count_limit": 5,
        "monthly_amount_limit": 900,
    }
    set_ = arm(rich, mode="INSTANT", **limits)
    assert set_ == {"account_id": "a"} | SETTINGS | NOTHING_YET | limits | {"mode": "INSTANT"}
    assert ask(rich, "get_auto_top_up", account_id="a") == set_
    assert arm(rich, threshold=-5) == {"account_id": "a"} | SETTINGS | NOTHING_YET | {
        "threshold": -5
    }
    assert in_order(rich)


def test_setting_it_moves_no_credits_and_asks_for_nothing(rich: Ledger) -> None:
    for mode in ("INTENT", "INSTANT"):
        arm(rich, threshold=1000, mode=mode)
        assert ask(rich, "get_auto_top_up", account_id="a") == {
            "account_id": "a",
            **SETTINGS,
            **NOTHING_YET,
            "threshold": 1000,
            "mode": mode,
        }
    assert posted(rich, "a") == [100]
    assert pending(rich) == {}
    assert events(rich) == []


def test_a_repeat_changes_nothing(rich: Ledger) -> None:
    arm(rich)
    ask(rich, "spend", account_id="a", amount=60)
    before = everything(rich)
    assert arm(rich)["waiting_for"] == "#auto-1"
    assert everything(rich) == before


def test_an_account_without_it_has_no_row(rich: Ledger) -> None:
    for account_id in ("a", "nobody"):
        assert ask_all(rich, "get_auto_top_up", account_id=account_id) == []
        assert ask_all(rich, "check_auto_top_up", account_id=account_id) == []
    assert in_order(rich)


def test_an_unknown_account_is_not_found(db: Ledger) -> None:
    given = {"threshold": 5, "amount": 5}
    details = refused(db, "LG003", "set_auto_top_up", account_id="a", **given)
    assert details == {"account_id": "a", "key": None}
    before = everything(db)
    assert ask_all(db, "check_auto_top_up", account_id="a") == []
    assert everything(db) == before
    write_history(db, "a", 100)
    assert ask_all(db, "check_auto_top_up", account_id="a") == []
    assert arm(db)["intents"] == 0
    assert in_order(db)


@pytest.mark.parametrize(
    ("parameter", "wrong"),
    [
        ("threshold", None),
        ("amount", None),
        ("amount", 0),
        ("amount", -1),
        ("amount", LOWEST),
        ("mode", None),
        ("enabled", None),
        ("daily_count_limit", 0),
        ("daily_count_limit", LOWEST),
        ("daily_amount_limit", 199),
        ("monthly_count_limit", 0),
        ("monthly_amount_limit", 199),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    rich: Ledger, parameter: str, wrong: int | None
) -> None:
    given = {"account_id": "a", "threshold": 50, "amount": 200, parameter: wrong}
    code = "22004" if wrong is None else "22023"
    assert refused(rich, code, "set_auto_top_up", **given)["parameter"] == parameter


@pytest.mark.parametrize("threshold", [HIGHEST, LOWEST, 0, -1])
def test_any_threshold_and_the_least_limits_make_sense(rich: Ledger, threshold: int) -> None:
    arm(
        rich,
        threshold=threshold,
        amount=HIGHEST,
        daily_count_limit=1,
        daily_amount_limit=HIGHEST,
        monthly_count_limit=1,
        monthly_amount_limit=HIGHEST,
    )
    ask(rich, "spend", account_id="a", amount=100)
    assert len(pending(rich)) == (1 if threshold > 0 else 0)
    assert in_order(rich)


def test_the_spend_that_leaves_less_than_the_threshold_records_one_intent(rich: Ledger) -> None:
    arm(rich)
    ask(rich, "spend", account_id="a", amount=50)
    assert pending(rich) == {}
    row = ask(rich, "spend", account_id="a", amount=1, key="k", reference="chat")
    assert (row["key"], row["amount"], row["balance"], row["available"]) == ("k", -1, 49, 49)
    intent = ask(rich, "get_transaction", account_id="a", key="#auto-1")
    assert intent.pop("created_at") is not None
    assert intent == {
        "account_id": "a",
        "key": "#auto-1",
        "seq": None,
        "type": "TOP_UP",
        "amount": 200,
        "requested_amount": 200,
        "running_balance": None,
        "status": "PENDING",
        "reference": "chat",
        "external_id": None,
        "metadata": {},
        "expires_at": None,
        "original_seq": None,
        "counterparty": None,
        "usage": None,
    }
    assert events(rich) == [
        (
            "top_up_requested",
            {
                "key": "#auto-1",
                "amount": 200,
                "available": 49,
                "threshold": 50,
                "reference": "chat",
            },
        )
    ]
    settings = ask(rich, "get_auto_top_up", account_id="a")
    assert (settings["intents"], settings["waiting_for"]) == (1, "#auto-1")
    assert armed_below(rich) is None
    assert in_order(rich)


def test_it_is_disarmed_until_the_intent_is_settled(rich: Ledger) -> None:
    arm(rich)
    for _ in range(5):
        ask(rich, "spend", account_id="a", amount=20)
    assert pending(rich) == {"#auto-1": "PENDING"}
    assert len(events(rich)) == 1
    row = ask(rich, "enable_transaction", account_id="a", key="#auto-1", external_id="pi_1")
    assert (row["amount"], row["balance"]) == (200, 200)
    assert (waits_for(rich), armed_below(rich)) == (None, 50)
    ask(rich, "spend", account_id="a", amount=151)
    assert pending(rich) == {"#auto-1": "ENABLED", "#auto-2": "PENDING"}
    ask(rich, "cancel_transaction", account_id="a", key="#auto-2")
    assert (waits_for(rich), armed_below(rich)) == (None, 50)
    assert len(pending(rich)) == 2
    ask(rich, "spend", account_id="a", amount=1)
    assert pending(rich)["#auto-3"] == "PENDING"
    assert in_order(rich)


def test_settling_it_twice_or_something_else_does_not_arm_it(rich: Ledger) -> None:
    arm(rich)
    ask(rich, "top_up", account_id="a", amount=5, key="own", is_active=False)
    ask(rich, "top_up", account_id="a", amount=5, key="other", is_active=False)
    ask(rich, "spend", account_id="a", amount=60)
    ask(rich, "enable_transaction", account_id="a", key="own")
    ask(rich, "cancel_transaction", account_id="a", key="other")
    assert waits_for(rich) == "#auto-1"
    ask(rich, "cancel_transaction", account_id="a", key="#auto-1")
    ask(rich, "spend", account_id="a", amount=1)
    assert waits_for(rich) == "#auto-2"
    replayed(rich, "cancel_transaction", account_id="a", key="#auto-1")
    ask(rich, "enable_transaction", account_id="a", key="#auto-1", external_id="late")
    assert (waits_for(rich), armed_below(rich)) == ("#auto-2", None)
    assert in_order(rich)


def test_changed_settings_arm_it_anew(rich: Ledger) -> None:
    arm(rich)
    ask(rich, "spend", account_id="a", amount=60)
    for asked, change in enumerate(
        (
            {"threshold": 45},
            {"amount": 100},
            {"daily_count_limit": 50},
            {"daily_amount_limit": 5000},
            {"monthly_count_limit": 50},
            {"monthly_amount_limit": 5000},
        ),
        start=1,
    ):
        settings = {"account_id": "a", **SETTINGS, **change, "resumes_at": None}
        told = arm(rich, **change)
        assert told.pop("intents") == asked
        assert told == settings | {"waiting_for": None}
        ask(rich, "spend", account_id="a", amount=1)
        assert waits_for(rich) is not None
    assert len(pending(rich)) == 7
    assert in_order(rich)


def test_accounts_are_armed_and_wait_each_for_itself(rich: Ledger) -> None:
    ask(rich, "top_up", account_id="b", amount=100)
    arm(rich)
    ask(rich, "set_auto_top_up", account_id="b", threshold=40, amount=100)
    ask(rich, "spend", account_id="a", amount=60)
    assert ask_all(rich, "check_auto_top_up", account_id="b") == []
    assert in_order(rich)
    ask(rich, "spend", account_id="b", amount=70)
    for account_id, amount in (("a", 200), ("b", 100)):
        row = replayed(rich, "check_auto_top_up", account_id=account_id)
        assert (row["account_id"], row["amount"]) == (account_id, amount)
    ask(rich, "cancel_transaction", account_id="a", key="#auto-1")
    assert ask(rich, "get_auto_top_up", account_id="b")["waiting_for"] == "#auto-1"
    assert ask(rich, "check_auto_top_up", account_id="a")["key"] == "#auto-2"
    assert in_order(rich)


def test_what_is_switched_off_asks_for_nothing(rich: Ledger) -> None:
    arm(rich, enabled=False)
    ask(rich, "spend", account_id="a", amount=60)
    assert ask_all(rich, "check_auto_top_up", account_id="a") == []
    assert pending(rich) == {}
    arm(rich)
    ask(rich, "spend", account_id="a", amount=1)
    assert arm(rich, enabled=False)["waiting_for"] is None
    ask(rich, "cancel_transaction", account_id="a", key="#auto-1")
    ask(rich, "spend", account_id="a", amount=1)
    assert pending(rich) == {"#auto-1": "CANCELLED"}
    assert in_order(rich)


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("spend", {"account_id": "a", "amount": 60}),
        ("spend", {"account_id": "a", "amount": 900, "shortfall": "PARTIAL"}),
        ("hold", {"account_id": "a", "amount": 60}),
        ("hold", {"account_id": "a", "amount": 60, "expires_at": "2200-01-01"}),
        ("transfer", {"from_account_id": "a", "to_account_id": "b", "amount": 60}),
        ("refund", {"account_id": "a", "original_key": "#1", "amount": 60}),
        ("add_transaction", {"account_id": "a", "amount": -60, "type": "ADJUSTMENT"}),
        (
            "add_transaction",
            {"account_id": "a", "amount": -60, "type": "USAGE", "external_id": "x"},
        ),
        (
            "add_transaction",
            {"account_id": "a", "amount": -60, "type": "USAGE", "is_active": False},
        ),
    ],
)
@pytest.mark.parametrize("mode", ["INTENT", "INSTANT"])
def test_every_debit_and_hold_is_watched(
    rich: Ledger, mode: str, verb: str, given: dict[str, object]
) -> None:
    ask(rich, "open_account", account_id="b")
    arm(rich, mode=mode)
    row = ask(rich, verb, **given, reference="chat", key="k")
    assert row["key"] == "k"
    asked = ask(rich, "get_transaction", account_id="a", key="#auto-1")
    assert (asked["type"], asked["amount"], asked["reference"]) == ("TOP_UP", 200, "chat")
    if mode == "INSTANT":
        assert (asked["status"], events(rich)) == ("POSTED", [])
        assert row["available"] == value(rich, "get_credits", account_id="a") >= 200
    else:
        assert (asked["status"], row["available"]) == ("PENDING", 100 + row["amount"])
    assert events(rich, "b") == []
    assert in_order(rich)


@pytest.mark.parametrize("way", [{}, {"metadata": {"n": 1}}])
def test_a_capture_is_watched_by_level_too(rich: Ledger, way: dict[str, Any]) -> None:
    ask(rich, "hold", account_id="a", amount=60, key="k", reference="chat")
    ask(rich, "hold", account_id="a", amount=20, key="l")
    arm(rich)
    ask(rich, "capture", account_id="a", key="l", amount=1)
    assert waits_for(rich) == "#auto-1"
    ask(rich, "cancel_transaction", account_id="a", key="#auto-1")
    ask(rich, "capture", account_id="a", key="k", amount=10, **way)
    assert waits_for(rich) is None
    ask(rich, "hold", account_id="a", amount=39, key="m", reference="chat")
    assert waits_for(rich) is None
    arm(rich, threshold=51)
    ask(rich, "capture", account_id="a", key="m", **way)
    assert ask(rich, "get_transaction", account_id="a", key="#auto-2")["reference"] == "chat"
    assert in_order(rich)


def test_credits_repeats_and_releases_ask_for_nothing(rich: Ledger) -> None:
    ask(rich, "spend", account_id="a", amount=70, key="spent")
    ask(rich, "hold", account_id="a", amount=10, key="held")
    arm(rich)
    ask(rich, "top_up", account_id="a", amount=1)
    ask(rich, "top_up", account_id="a", amount=1, ceiling_balance=1000)
    ask(rich, "top_up", account_id="a", amount=1, is_active=False)
    replayed(rich, "spend", account_id="a", amount=70, key="spent")
    replayed(rich, "hold", account_id="a", amount=10, key="held")
    ask(rich, "release", account_id="a", key="held")
    ask(rich, "reverse_transaction", account_id="a", original_key="spent", amount=1)
    assert waits_for(rich) is None
    assert events(rich) == []
    assert in_order(rich)


def test_a_refused_spend_records_nothing_and_a_check_asks(rich: Ledger) -> None:
    arm(rich, threshold=101)
    refused(rich, "LG001", "spend", account_id="a", amount=500)
    ask(rich, "spend", account_id="a", amount=500, raise_refusals=False)
    assert pending(rich) == {}
    (row,) = ask_all(rich, "check_auto_top_up", account_id="a", reference="chat")
    assert row.pop("created_at") is not None
    assert row == {
        "account_id": "a",
        "key": "#auto-1",
        "seq": None,
        "type": "TOP_UP",
        "amount": 200,
        "requested_amount": 200,
        "running_balance": None,
        "balance": 100,
        "available": 100,
        "status": "PENDING",
        "replayed": False,
        "refusal": None,
        "error": None,
    }
    assert ask(rich, "get_transaction", account_id="a", key="#auto-1")["reference"] == "chat"
    again = replayed(rich, "check_auto_top_up", account_id="a", reference="other")
    assert (again["key"], again["status"]) == ("#auto-1", "PENDING")
    assert len(events(rich)) == 1
    assert in_order(rich)


def test_a_check_above_the_threshold_does_nothing(rich: Ledger) -> None:
    arm(rich, threshold=100)
    before = everything(rich)
    assert ask_all(rich, "check_auto_top_up", account_id="a") == []
    assert everything(rich) == before


def test_a_check_sees_what_is_held_and_what_expired(rich: Ledger) -> None:
    ask(rich, "hold", account_id="a", amount=60, key="k", expires_at="2200-01-01")
    arm(rich)
    let_expire(rich)
    assert ask_all(rich, "check_auto_top_up", account_id="a") == []
    assert pending(rich) == {"k": "EXPIRED"}
    ask(rich, "hold", account_id="a", amount=40)
    arm(rich, threshold=61)
    assert ask(rich, "check_auto_top_up", account_id="a")["available"] == 60
    assert in_order(rich)


def test_an_instant_top_up_is_posted_right_after_the_spend(rich: Ledger) -> None:
    arm(rich, mode="INSTANT")
    row = ask(rich, "spend", account_id="a", amount=60, key="k", reference="chat")
    assert (row["seq"], row["running_balance"]) == (2, 40)
    assert (row["balance"], row["available"]) == (240, 240)
    top_up = ask(rich, "get_transaction", account_id="a", key="#auto-1")
    assert (top_up["seq"], top_up["type"], top_up["amount"]) == (3, "TOP_UP", 200)
    assert (top_up["status"], top_up["reference"]) == ("POSTED", "chat")
    assert replayed(rich, "spend", account_id="a", amount=60, key="k")["running_balance"] == 40
    assert armed_below(rich) == 50
    assert waits_for(rich) is None
    ask(rich, "spend", account_id="a", amount=200)
    assert posted(rich, "a") == [100, -60, 200, -200, 200]
    assert (pending(rich), events(rich)) == ({}, [])
    assert in_order(rich)


def test_an_instant_top_up_is_one_even_where_it_is_too_small(rich: Ledger) -> None:
    arm(rich, mode="INSTANT", amount=1)
    assert ask(rich, "spend", account_id="a", amount=60)["available"] == 41
    assert ask(rich, "hold", account_id="a", amount=1)["available"] == 41
    (row,) = ask_all(rich, "check_auto_top_up", account_id="a")
    assert (row["key"], row["status"], row["seq"]) == ("#auto-3", "POSTED", 5)
    assert (row["running_balance"], row["available"], row["replayed"]) == (43, 42, False)
    assert posted(rich, "a") == [100, -60, 1, 1, 1]
    assert in_order(rich)


def test_an_instant_top_up_is_refunded_like_any_other(rich: Ledger) -> None:
    arm(rich, mode="INSTANT")
    ask(rich, "spend", account_id="a", amount=60)
    assert ask(rich, "refund", account_id="a", original_key="#auto-1", amount=5)["amount"] == -5
    assert in_order(rich)


def test_a_frozen_account_is_not_topped_up_until_it_is_open(rich: Ledger) -> None:
    arm(rich)
    ask(rich, "set_account_status", account_id="a", status="FROZEN")
    given = {"account_id": "a", "amount": -60, "type": "REFUND"}
    ask(rich, "add_transaction", **given, fail_insufficient_credits=False)
    assert ask_all(rich, "check_auto_top_up", account_id="a") == []
    assert pending(rich) == {}
    ask(rich, "set_account_status", account_id="a", status="OPEN")
    assert ask(rich, "check_auto_top_up", account_id="a")["key"] == "#auto-1"
    ask(rich, "set_account_status", account_id="a", status="FROZEN")
    ask(rich, "enable_transaction", account_id="a", key="#auto-1", external_id="pi_1")
    assert (waits_for(rich), armed_below(rich)) == (None, 50)
    assert in_order(rich)


def test_a_lost_balance_row_comes_back_armed_or_waiting(rich: Ledger) -> None:
    arm(rich)
    rich.execute("delete from pgledger.balances")
    ask(rich, "spend", account_id="a", amount=60)
    assert waits_for(rich) == "#auto-1"
    rich.execute("delete from pgledger.balances")
    ask(rich, "spend", account_id="a", amount=1)
    assert (waits_for(rich), len(pending(rich))) == ("#auto-1", 1)
    rich.execute("delete from pgledger.balances")
    ask(rich, "cancel_transaction", account_id="a", key="#auto-1")
    assert armed_below(rich) == 50
    rich.execute("delete from pgledger.balances")
    assert ask(rich, "check_auto_top_up", account_id="a")["key"] == "#auto-2"
    assert in_order(rich)


def test_a_long_row_of_expired_holds_does_not_hide_that_credits_are_short(rich: Ledger) -> None:
    ask(rich, "open_account", account_id="b")
    ask(rich, "top_up", account_id="a", amount=250)
    for _ in range(250):
        ask(rich, "hold", account_id="a", amount=1, expires_at="2200-01-01")
    arm(rich)
    let_expire(rich)
    ask(rich, "spend", account_id="a", amount=301)
    assert waits_for(rich) == "#auto-1"
    assert events(rich)[-1][1]["available"] == 49
    assert in_order(rich)


def test_a_spend_that_is_rolled_back_asked_for_nothing(rich: Ledger) -> None:
    arm(rich)
    before = everything(rich)
    with rich.transaction(force_rollback=True):
        ask(rich, "spend", account_id="a", amount=60)
    assert everything(rich) == before
