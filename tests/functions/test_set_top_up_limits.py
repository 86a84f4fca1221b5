"""set_top_up_limits and get_top_up_limits: of one account, or of all that have none."""

from typing import Any

import pytest

from tests.support import (
    HIGHEST,
    Ledger,
    ask,
    ask_all,
    everything,
    in_order,
    refused,
    write_history,
)

NONE: dict[str, object] = {
    "minimum": None,
    "multiple_of": None,
    "maximum": None,
    "daily_count_limit": None,
    "daily_amount_limit": None,
}
ALL = {
    "minimum": 10,
    "multiple_of": 5,
    "maximum": 500,
    "daily_count_limit": 3,
    "daily_amount_limit": 900,
}


def told(db: Ledger, account_id: str | None = None) -> dict[str, Any] | None:
    rows = ask_all(db, "get_top_up_limits", account_id=account_id)
    assert len(rows) <= 1
    return next(iter(rows), None)


@pytest.fixture
def opened(db: Ledger) -> Ledger:
    for account_id in ("a", "b"):
        ask(db, "open_account", account_id=account_id)
    return db


def test_without_any_there_is_no_row(opened: Ledger) -> None:
    for account_id in (None, "a", "nobody"):
        assert told(opened, account_id) is None
    assert ask_all(opened, "set_top_up_limits") == []
    assert ask_all(opened, "set_top_up_limits", account_id="a") == []


def test_they_are_set_whole(opened: Ledger) -> None:
    assert ask(opened, "set_top_up_limits", account_id="a", **ALL) == {"account_id": "a"} | ALL
    assert told(opened, "a") == {"account_id": "a"} | ALL
    for name, limit in ALL.items():
        given: dict[str, object] = {"account_id": "a", name: limit}
        assert ask(opened, "set_top_up_limits", **given) == NONE | given
    assert told(opened, "b") is told(opened) is None
    assert in_order(opened)


def test_an_account_without_its_own_goes_by_those_of_all(opened: Ledger) -> None:
    assert ask(opened, "set_top_up_limits", **ALL) == {"account_id": ""} | ALL
    of_all = {"account_id": ""} | ALL
    for account_id in (None, "a", "nobody"):
        assert told(opened, account_id) == of_all
    own = ask(opened, "set_top_up_limits", account_id="a", minimum=1)
    assert own == {"account_id": "a"} | NONE | {"minimum": 1}
    assert (told(opened, "a"), told(opened, "b")) == (own, of_all)
    assert ask(opened, "set_top_up_limits", account_id="a") == of_all
    assert ask_all(opened, "set_top_up_limits") == []
    assert told(opened, "a") is None


def test_own_limits_are_all_that_count(opened: Ledger) -> None:
    ask(opened, "set_top_up_limits", **ALL)
    ask(opened, "set_top_up_limits", account_id="a", maximum=1000)
    ask(opened, "create_top_up", account_id="a", amount=1000)
    for account_id, amount in (("a", 1001), ("b", 1000)):
        refused(opened, "LG012", "create_top_up", account_id=account_id, amount=amount)


@pytest.mark.parametrize(
    ("limits", "wrong"),
    [
        ({"minimum": 0}, "minimum"),
        ({"multiple_of": 0}, "multiple_of"),
        ({"multiple_of": -1, "minimum": 5}, "multiple_of"),
        ({"maximum": 0}, "maximum"),
        ({"daily_count_limit": 0}, "daily_count_limit"),
        ({"daily_amount_limit": 0}, "daily_amount_limit"),
        ({"minimum": 10, "maximum": 9}, "maximum"),
        ({"multiple_of": 10, "maximum": 9}, "maximum"),
        ({"minimum": 11, "multiple_of": 10, "maximum": 19}, "maximum"),
        ({"minimum": 11, "multiple_of": 10, "daily_amount_limit": 19}, "daily_amount_limit"),
        ({"minimum": HIGHEST, "multiple_of": 5}, "minimum"),
        ({"minimum": 2, "multiple_of": HIGHEST, "maximum": HIGHEST - 1}, "maximum"),
    ],
)
@pytest.mark.parametrize("account_id", [None, "a"])
def test_limits_within_which_there_is_nothing_are_refused(
    opened: Ledger, account_id: str | None, limits: dict[str, int], wrong: str
) -> None:
    details = refused(opened, "22023", "set_top_up_limits", account_id=account_id, **limits)
    assert details["parameter"] == wrong


@pytest.mark.parametrize(
    ("limits", "amount"),
    [
        ({"minimum": 10, "maximum": 10, "daily_amount_limit": 10, "daily_count_limit": 1}, 10),
        ({"minimum": 11, "multiple_of": 10, "maximum": 20, "daily_amount_limit": 20}, 20),
        ({"minimum": 20, "multiple_of": 10, "maximum": 20}, 20),
        ({"multiple_of": HIGHEST}, HIGHEST),
        ({"minimum": HIGHEST}, HIGHEST),
    ],
)
def test_limits_with_room_for_one_top_up_leave_it(
    opened: Ledger, limits: dict[str, int], amount: int
) -> None:
    ask(opened, "set_top_up_limits", account_id="a", **limits)
    ask(opened, "create_top_up", account_id="a", amount=amount)
    assert in_order(opened)


def test_an_account_must_be_there(db: Ledger) -> None:
    details = refused(db, "LG003", "set_top_up_limits", account_id="a", minimum=1)
    assert details == {"account_id": "a", "key": None}
    write_history(db, "a", 5)
    assert ask(db, "set_top_up_limits", account_id="a", minimum=1)["minimum"] == 1
    assert in_order(db)


def test_who_set_them_is_on_record(opened: Ledger) -> None:
    ask(opened, "set_top_up_limits", account_id="a", minimum=5, actor="ada")
    ask_all(opened, "set_top_up_limits", account_id="a")
    ask(opened, "set_top_up_limits", maximum=9)
    rows = opened.execute(
        "select account_id, act, actor = session_user as is_me, actor, arguments"
        " from pgledger.audit_log order by created_at"
    ).fetchall()
    assert [(r["account_id"], r["act"], r["arguments"]) for r in rows] == [
        ("a", "set_top_up_limits", {"minimum": 5}),
        ("a", "set_top_up_limits", {}),
        ("", "set_top_up_limits", {"maximum": 9}),
    ]
    assert (rows[0]["actor"], rows[1]["is_me"], rows[2]["is_me"]) == ("ada", True, True)


def test_what_was_announced_before_stays(opened: Ledger) -> None:
    given = {"account_id": "a", "amount": 1, "key": "k"}
    ask(opened, "create_top_up", **given)
    ask(opened, "set_top_up_limits", account_id="a", minimum=5)
    before = everything(opened)
    assert ask(opened, "create_top_up", **given)["replayed"] is True
    assert everything(opened) == before
    assert ask(opened, "enable_transaction", account_id="a", key="k")["balance"] == 1
