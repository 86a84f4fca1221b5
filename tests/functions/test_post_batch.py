"""post_batch: many movements in one call, each as if it were posted by a call of its own.

That it is the same as the calls, whatever is asked, is held in tests/test_batch_equals_calls.py;
here is what it promises, by name.
"""

import json
from datetime import timedelta
from itertools import product
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.batches import Item, arguments_of, credit, post_batch, spend, words
from tests.support import (
    HIGHEST,
    LOWEST,
    Ledger,
    ask,
    ask_all,
    day,
    everything,
    in_order,
    left,
    pending,
    posted,
    write_history,
)

COLUMNS = (
    *("account_id", "key", "seq", "type", "amount", "requested_amount", "running_balance"),
    *("balance", "available", "status", "replayed", "refusal", "created_at", "error"),
)


@pytest.fixture
def rich(db: Ledger) -> Ledger:
    """Two accounts with 100 credits each."""
    for account_id in ("a", "b"):
        ask(db, "top_up", account_id=account_id, amount=100)
    return db


def refused_whole(db: Ledger, sqlstate: str, *items: Item, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever an array may hold
    """Require that the call raises and leaves no trace; the values in the error's detail."""
    arguments, values = arguments_of(items)
    for name, (type_, given) in more.items():
        arguments += f", {name} => %({name})s::{type_}"
        values[name] = given
    before = everything(db)
    with pytest.raises(psycopg.Error) as caught:
        db.execute(f"select * from pgledger.post_batch({arguments})".encode(), values)
    said = caught.value.diag
    assert said.sqlstate == sqlstate, str(caught.value)
    assert said.message_primary == (said.message_primary or "").lower()
    assert said.message_hint
    assert everything(db) == before
    details = json.loads(said.message_detail or "")
    assert isinstance(details, dict)
    return details


def raw(db: Ledger, arguments: str) -> list[dict[str, Any]]:
    return db.execute(f"select * from pgledger.post_batch({arguments})".encode()).fetchall()


# The answers


def test_each_item_is_answered_in_input_order_with_all_about_its_movement(rich: Ledger) -> None:
    rows = post_batch(
        rich,
        spend(5, "b", key="one", reference="chat", metadata={"model": "m"}),
        credit(7, "a"),
        spend(1, "b"),
    )
    assert [tuple(row) for row in rows] == [COLUMNS] * 3
    assert all(row.pop("created_at") is not None for row in rows)
    common = {"status": "POSTED", "replayed": False, "refusal": None, "error": None}
    assert rows == [
        common
        | {"account_id": "b", "key": "one", "seq": 2, "type": "USAGE", "amount": -5}
        | {"requested_amount": -5, "running_balance": 95, "balance": 95, "available": 95},
        common
        | {"account_id": "a", "key": "#2", "seq": 2, "type": "GRANT", "amount": 7}
        | {"requested_amount": 7, "running_balance": 107, "balance": 107, "available": 107},
        common
        | {"account_id": "b", "key": "#3", "seq": 3, "type": "USAGE", "amount": -1}
        | {"requested_amount": -1, "running_balance": 94, "balance": 94, "available": 94},
    ]
    (recorded,) = ask_all(rich, "get_transaction", account_id="b", key="one")
    assert (recorded["reference"], recorded["metadata"]) == ("chat", {"model": "m"})
    (recorded,) = ask_all(rich, "get_transaction", account_id="b", key="#3")
    assert (recorded["reference"], recorded["metadata"]) == (None, {})
    assert in_order(rich)


def test_balance_and_available_are_those_after_the_item_and_not_after_the_batch(
    rich: Ledger,
) -> None:
    ask(rich, "hold", account_id="a", amount=30)
    rows = post_batch(rich, spend(1), spend(2), credit(10), spend(4))
    assert [(row["running_balance"], row["balance"], row["available"]) for row in rows] == [
        (99, 99, 69),
        (97, 97, 67),
        (107, 107, 77),
        (103, 103, 73),
    ]


def test_an_item_is_recorded_when_it_is_answered_to_be(rich: Ledger) -> None:
    rows = post_batch(rich, *[spend(n, "ab"[n % 2]) for n in range(1, 9)])
    for row in rows:
        (recorded,) = ask_all(rich, "get_transaction", account_id=row["account_id"], key=row["key"])
        assert recorded["created_at"] == row["created_at"]
        assert (recorded["amount"], recorded["seq"]) == (row["amount"], row["seq"])
    assert in_order(rich)


def test_a_movement_of_a_batch_is_never_earlier_than_the_one_before_it(rich: Ledger) -> None:
    rich.execute("update pgledger.balances set updated_at = now() + interval '1 hour'")
    (ahead,) = rich.execute("select updated_at from pgledger.balances where account_id = 'a'")
    rows = post_batch(rich, spend(1), spend(1), spend(1, shortfall="PARTIAL"))
    assert {row["created_at"] for row in rows} == {ahead["updated_at"]}


def test_an_account_of_a_batch_takes_its_items_in_input_order(db: Ledger) -> None:
    rows = post_batch(db, spend(5), credit(5), spend(5), spend(1), credit(1), spend(1))
    assert words(rows) == ["LG001", "ok", "ok", "LG001", "ok", "ok"]
    assert posted(db, "a") == [5, -5, 1, -1]
    assert in_order(db)


def test_accounts_of_a_batch_do_not_concern_each_other(rich: Ledger) -> None:
    rows = post_batch(
        rich, spend(100, "a"), spend(101, "b"), spend(1, "a"), spend(100, "b"), credit(1, "a")
    )
    assert words(rows) == ["ok", "LG001", "LG001", "ok", "ok"]
    assert (posted(rich, "a"), posted(rich, "b")) == ([100, -100, 1], [100, -100])


def test_a_mixed_batch_posts_replays_and_refuses_side_by_side(rich: Ledger) -> None:
    ask(rich, "spend", account_id="a", amount=10, key="before")
    rows = post_batch(
        rich,
        spend(10, key="before"),
        spend(11, key="before"),
        spend(20, key="new"),
        spend(1000),
        spend(0),
        spend(20, key="new"),
        spend(5, "b", key="before"),
    )
    assert words(rows) == ["replayed", "LG002", "ok", "LG001", "22023", "replayed", "ok"]
    assert [row["seq"] for row in rows] == [2, None, 3, None, None, 3, 2]
    assert posted(rich, "a") == [100, -10, -20]
    assert in_order(rich)


def test_one_item_is_a_batch(rich: Ledger) -> None:
    (row,) = post_batch(rich, spend(5, key="k"))
    assert (row["seq"], row["balance"]) == (2, 95)
    (row,) = post_batch(rich, spend(5, key="k"))
    assert (row["replayed"], row["seq"]) == (True, 2)
    (row,) = post_batch(rich, spend(96))
    assert (row["refusal"], row["available"]) == ("LG001", 95)


def test_an_empty_batch_has_no_answers_and_writes_nothing(rich: Ledger) -> None:
    before = everything(rich)
    assert post_batch(rich) == []
    assert post_batch(rich, atomic=True) == []
    assert raw(rich, "'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'") == []
    assert everything(rich) == before


# Refusals as rows


def test_a_refusal_is_a_row_that_says_what_a_raised_one_says(rich: Ledger) -> None:
    (row,) = post_batch(rich, spend(101, key="k"))
    with pytest.raises(psycopg.Error) as caught:
        ask(rich, "spend", account_id="a", amount=101, key="k")
    raised = caught.value.diag
    assert row == {
        "account_id": "a",
        "key": "k",
        "seq": None,
        "type": "USAGE",
        "amount": 0,
        "requested_amount": -101,
        "running_balance": None,
        "balance": 100,
        "available": 100,
        "status": "REFUSED",
        "replayed": False,
        "refusal": "LG001",
        "created_at": None,
        "error": {
            "message": raised.message_primary,
            "detail": json.loads(raised.message_detail or ""),
            "hint": raised.message_hint,
        },
    }
    assert row["error"]["detail"]["missing"] == 1


def test_a_refusal_tells_the_balance_at_its_place(rich: Ledger) -> None:
    rows = post_batch(rich, spend(60), spend(60), credit(30), spend(60), spend(20))
    assert words(rows) == ["ok", "LG001", "ok", "ok", "LG001"]
    assert [row["balance"] for row in rows] == [40, 40, 70, 10, 10]
    assert rows[1]["error"]["detail"] == {
        "account_id": "a",
        "key": None,
        "balance": 40,
        "held": 0,
        "available": 40,
        "floor": 0,
        "requested": 60,
        "missing": 20,
    }
    assert rows[4]["error"]["detail"]["missing"] == 10


def test_a_refused_key_is_free_for_a_later_item(db: Ledger) -> None:
    rows = post_batch(db, spend(5, key="k"), credit(9), spend(5, key="k"), spend(5, key="k"))
    assert words(rows) == ["LG001", "ok", "ok", "replayed"]


MISUSED: list[tuple[Item, str, str | None]] = [
    ({"account_id": None}, "22004", "account_id"),
    ({"account_id": ""}, "22023", "account_id"),
    ({"account_id": "a\nb"}, "22023", "account_id"),
    ({"account_id": "x" * 256}, "22023", "account_id"),
    ({"amount": None}, "22004", "amount"),
    ({"amount": 0}, "22023", "amount"),
    ({"amount": LOWEST}, "22023", "amount"),
    ({"type": None}, "22004", "type"),
    ({"key": ""}, "22023", "key"),
    ({"key": "#1"}, "22023", "key"),
    ({"key": "#auto-1"}, "22023", "key"),
    ({"key": "a\tb"}, "22023", "key"),
    ({"key": "\x85"}, "22023", "key"),
    ({"key": "x" * 256}, "22023", "key"),
    ({"reference": ""}, "22023", "reference"),
    ({"reference": "\x01"}, "22023", "reference"),
    ({"reference": "x" * 256}, "22023", "reference"),
    ({"metadata": [1]}, "22023", "metadata"),
    ({"metadata": "text"}, "22023", "metadata"),
    ({"metadata": {"x": "y" * 70_000}}, "22023", "metadata"),
    ({"shortfall": ""}, "22023", "shortfall"),
    ({"shortfall": "partial"}, "22023", "shortfall"),
    ({"shortfall": "ANY"}, "22023", "shortfall"),
    ({"external_id": ""}, "22023", "external_id"),
    ({"external_id": "\x7f"}, "22023", "external_id"),
    ({"expires_at": day(1)}, "22023", "expires_at"),
    ({"priority": 1}, "22023", "priority"),
    ({"amount": 1, "expires_at": day(-1)}, "22023", "expires_at"),
    ({"amount": HIGHEST}, "22003", None),
]


@pytest.mark.parametrize("others", [True, False], ids=["among others", "alone"])
def test_a_misused_item_is_a_row_too_and_does_not_affect_the_others(
    rich: Ledger, *, others: bool
) -> None:
    before = everything(rich)
    for change, sqlstate, parameter in MISUSED:
        misused = spend(1) | change
        with rich.transaction(force_rollback=True):
            if others:
                rows = post_batch(rich, spend(1, key="before"), misused, spend(2, key="after"))
                assert [row["refusal"] for row in rows] == [None, sqlstate, None], change
                assert posted(rich, "a") == [100, -1, -2]
                require_misused(rows[1], misused, sqlstate, parameter)
            else:
                (row,) = post_batch(rich, misused)
                require_misused(row, misused, sqlstate, parameter)
                assert everything(rich) == before
            assert in_order(rich)


def require_misused(
    row: dict[str, Any], misused: Item, sqlstate: str, parameter: str | None
) -> None:
    assert (row["status"], row["refusal"], row["replayed"]) == ("REFUSED", sqlstate, False)
    assert (row["seq"], row["running_balance"], row["created_at"]) == (None, None, None)
    assert (row["account_id"], row["key"]) == (misused["account_id"], misused.get("key"))
    assert (row["amount"], row["requested_amount"]) == (0, misused["amount"])
    assert row["type"] == misused["type"]
    error = row["error"]
    assert error.keys() == {"message", "detail", "hint"}
    assert error["message"] == error["message"].lower()
    assert error["hint"]
    if parameter is not None:
        assert error["message"] == f"invalid {parameter}"
        assert error["detail"]["parameter"] == parameter
    assert len(json.dumps(error)) < 2000


def test_an_item_of_no_account_does_not_slow_the_others_down(rich: Ledger) -> None:
    rows = post_batch(rich, spend(1), spend(1, account_id=None), credit(1, "b"), spend(1))
    assert words(rows) == ["ok", "22004", "ok", "ok"]
    # What is posted together is posted at one instant.
    assert len({row["created_at"] for row in rows} - {None}) == 1


def test_infinite_instants_are_misuses_of_their_item(rich: Ledger) -> None:
    for never in ("infinity", "-infinity"):
        rows = raw(
            rich,
            "array['a', 'a'], array[1, 2], array['GRANT', 'GRANT']::pgledger.transaction_type[],"
            f" expires_at => array['{never}', null]::timestamptz[]",
        )
        assert words(rows) == ["22023", "ok"]
    assert posted(rich, "a") == [100, 2, 2]


def test_an_account_that_was_only_misused_or_refused_leaves_no_trace(db: Ledger) -> None:
    before = everything(db)
    rows = post_batch(db, spend(1, "x"), spend(0, "y"), credit(5, "z", key="#"), spend(1, "x"))
    assert words(rows) == ["LG001", "22023", "22023", "LG001"]
    assert [row["balance"] for row in rows if row["refusal"] == "LG001"] == [0, 0]
    assert everything(db) == before
    # No balance row is left to be in the way of its history.
    write_history(db, "x", 40)
    assert words(post_batch(db, spend(40, "x"))) == ["ok"]
    assert in_order(db)


def test_a_nul_is_refused_by_the_server_before_the_batch_is_looked_at(rich: Ledger) -> None:
    before = everything(rich)
    with pytest.raises(psycopg.DataError):
        post_batch(rich, spend(1), spend(1, key="a\x00b"))
    assert everything(rich) == before


# What is no batch


def test_the_three_arrays_that_make_a_batch_must_be_there(rich: Ledger) -> None:
    for name in ("account_ids", "amounts", "types"):
        given = {
            "account_ids": "array['a']",
            "amounts": "array[-1]",
            "types": "array['USAGE']::pgledger.transaction_type[]",
        } | {name: "null"}
        before = everything(rich)
        with pytest.raises(psycopg.Error) as caught:
            raw(rich, ", ".join(f"{key} => {what}" for key, what in given.items()))
        assert caught.value.sqlstate == "22004"
        assert json.loads(caught.value.diag.message_detail or "")["parameter"] == name
        assert caught.value.diag.message_hint
        assert everything(rich) == before


OPTIONAL: dict[str, tuple[str, Any]] = {
    "keys": ("text[]", "k"),
    "reference_ids": ("text[]", "r"),
    "metadata": ("jsonb[]", Jsonb({})),
    "shortfalls": ("text[]", "REFUSE"),
    "external_ids": ("text[]", "x"),
    "ceiling_balances": ("bigint[]", 1000),
    "expires_at": ("timestamptz[]", None),
    "priorities": ("integer[]", 0),
    "codes": ("text[]", None),
    "quantities": ("jsonb[]", None),
}


def test_arrays_of_another_length_refuse_the_whole_call(rich: Ledger) -> None:
    good = [spend(1), spend(1)]
    for name, (type_, one) in OPTIONAL.items():
        for length in (0, 1, 3):
            # An empty array is as good as none at all.
            details = refused_whole(
                rich, "22023" if length else "22004", *good, **{name: (type_, [one] * length)}
            )
            assert details["parameter"] == name


def test_so_do_those_that_must_be_there(rich: Ledger) -> None:
    for name, length in product(["amounts", "types"], [0, 1, 3]):
        arrays = {
            "amounts": f"array_fill(-1::bigint, array[{2 if name == 'types' else length}])",
            "types": "array_fill('USAGE'::pgledger.transaction_type, "
            f"array[{2 if name == 'amounts' else length}])",
        }
        before = everything(rich)
        with pytest.raises(psycopg.Error) as caught:
            raw(rich, f"array['a', 'b'], {arrays['amounts']}, {arrays['types']}")
        assert caught.value.sqlstate == ("22023" if length else "22004")
        assert everything(rich) == before


def test_an_array_of_two_dimensions_refuses_the_whole_call(rich: Ledger) -> None:
    for name, (type_, one) in OPTIONAL.items():
        for shape in ([[one], [one]], [[one, one]]):
            refused_whole(rich, "22023", spend(1), spend(1), **{name: (type_, shape)})


def test_two_dimensions_of_what_must_be_there_refuse_it_too(rich: Ledger) -> None:
    types = "'{USAGE,USAGE}'::pgledger.transaction_type[]"
    for arguments in (
        f"array[array['a'], array['b']], array[-1, -1], {types}",
        f"array[array['a', 'b']], array[-1, -1], {types}",
        f"array['a', 'b'], array[array[-1], array[-1]], {types}",
        "array['a', 'b'], array[-1, -1], '{{USAGE},{USAGE}}'",
        "array[array['a', 'b']], array[array[-1, -1]], '{{USAGE,USAGE}}'",
    ):
        before = everything(rich)
        with pytest.raises(psycopg.Error) as caught:
            raw(rich, arguments)
        assert caught.value.sqlstate == "22023"
        assert everything(rich) == before


def test_atomic_is_yes_or_no(rich: Ledger) -> None:
    assert refused_whole(rich, "22004", spend(1), atomic=("boolean", None))


def test_an_array_may_begin_anywhere(rich: Ledger) -> None:
    rows = raw(
        rich,
        "'[0:1]={a,b}', '[5:6]={-1,-2}', '[2:3]={USAGE,USAGE}', '[-1:0]={k,NULL}',"
        " shortfalls => '[7:8]={NULL,PARTIAL}'",
    )
    assert [(row["account_id"], row["amount"], row["key"]) for row in rows] == [
        ("a", -1, "k"),
        ("b", -2, "#2"),
    ]


# Defaults


def test_what_is_null_is_the_default_of_the_item_or_of_all(rich: Ledger) -> None:
    nothing: Item = {"reference": None, "metadata": None, "external_id": None, "expires_at": None}
    nothing |= {"key": None, "shortfall": None, "ceiling_balance": None, "priority": None}
    said = post_batch(rich, spend(1, **nothing), credit(1, **nothing), spend(1000, **nothing))
    left_out = post_batch(rich, spend(1, "b"), credit(1, "b"), spend(1000, "b"))
    for row, other in zip(said, left_out, strict=True):
        for name in ("account_id", "created_at", "error"):
            del row[name], other[name]
        assert row == other
    assert ask_all(rich, "lots", account_id="a") == []


def test_one_item_says_what_the_others_leave_out(rich: Ledger) -> None:
    rows = post_batch(
        rich,
        spend(150, key="k"),
        spend(150, shortfall="PARTIAL", reference="chat"),
        credit(5, expires_at=day(9), metadata={"a": 1}),
        credit(5, priority=-1),
        credit(500, ceiling_balance=20, external_id="pi_1"),
    )
    assert words(rows) == ["LG001", "ok", "ok", "ok", "ok"]
    assert [row["amount"] for row in rows] == [0, -100, 5, 5, 10]
    assert left(rich) == {"#4": 5, "#3": 5}
    recorded = ask_all(rich, "history", account_id="a")
    assert [(row["reference"], row["external_id"], row["metadata"]) for row in recorded] == [
        (None, "pi_1", {}),
        (None, None, {}),
        (None, None, {"a": 1}),
        ("chat", None, {}),
        (None, None, {}),
    ]


# Keys


def test_the_same_key_twice_in_a_batch_has_one_effect(rich: Ledger) -> None:
    rows = post_batch(rich, spend(7, key="k"), spend(3), spend(7, key="k"), spend(8, key="k"))
    assert words(rows) == ["ok", "ok", "replayed", "LG002"]
    assert [row["seq"] for row in rows] == [2, 3, 2, None]
    assert [row["running_balance"] for row in rows] == [93, 90, 93, None]
    assert [row["balance"] for row in rows] == [93, 90, 90, 90]
    details = rows[3]["error"]["detail"]
    assert (details["recorded"]["amount"], details["given"]["amount"]) == (-7, -8)
    assert posted(rich, "a") == [100, -7, -3]
    assert in_order(rich)


def test_a_key_belongs_to_its_account(rich: Ledger) -> None:
    rows = post_batch(rich, *[spend(1, account_id, key="k") for account_id in "abab"])
    assert words(rows) == ["ok", "ok", "replayed", "replayed"]


@pytest.mark.parametrize("together", [True, False], ids=["in its batch", "later"])
def test_a_key_stands_for_what_it_was_used_for(rich: Ledger, *, together: bool) -> None:
    first = spend(7, key="k", reference="chat", metadata={"a": 1})
    changes: list[tuple[Item, str]] = [
        ({}, "replayed"),
        ({"reference": "other", "metadata": {"b": 2}}, "replayed"),
        ({"shortfall": "PARTIAL"}, "replayed"),
        ({"ceiling_balance": 1}, "replayed"),
        ({"external_id": "pi_1"}, "replayed"),
        ({"amount": -8}, "LG002"),
        ({"amount": 7}, "LG002"),
        ({"type": "ADJUSTMENT"}, "LG002"),
        ({"amount": 7, "expires_at": day(9)}, "LG002"),
        ({"amount": 7, "priority": 1}, "LG002"),
    ]
    for change, word in changes:
        with rich.transaction(force_rollback=True):
            if together:
                assert words(post_batch(rich, first, first | change)) == ["ok", word], change
            else:
                post_batch(rich, first)
                rows = post_batch(rich, spend(1), first | change, spend(1))
                assert words(rows) == ["ok", word, "ok"], change
            assert sum(posted(rich, "a")) == (93 if together else 91)
            assert in_order(rich)


def test_a_key_of_any_earlier_call_is_answered_with_its_original(rich: Ledger) -> None:
    made = ask(rich, "top_up", account_id="a", amount=5, key="paid", external_id="pi_1")
    ask(rich, "hold", account_id="a", amount=4, key="held")
    ask(rich, "capture", account_id="a", key="held")
    rows = post_batch(
        rich,
        credit(5, type="TOP_UP", key="paid"),
        credit(5, type="TOP_UP", key="paid", external_id="pi_2"),
        spend(4, key="held"),
        credit(5, type="TOP_UP", key="other", external_id="pi_1"),
    )
    assert words(rows) == ["replayed", "LG002", "LG002", "replayed"]
    assert (rows[0]["created_at"], rows[0]["running_balance"]) == (made["created_at"], 105)
    assert (rows[3]["key"], rows[3]["balance"]) == ("paid", 101)


@pytest.mark.parametrize("end", [None, "cancel_transaction", "enable_transaction"])
def test_a_key_that_was_announced_is_taken(rich: Ledger, end: str | None) -> None:
    ask(rich, "top_up", account_id="a", amount=5, key="p", is_active=False)
    if end is not None:
        ask(rich, end, account_id="a", key="p")
    rows = post_batch(
        rich, spend(1), credit(5, type="TOP_UP", key="p"), spend(5, key="p"), spend(1, key="q")
    )
    assert words(rows) == ["ok", "LG002", "LG002", "ok"]
    assert pending(rich)["p"] == {
        None: "PENDING",
        "cancel_transaction": "CANCELLED",
        "enable_transaction": "ENABLED",
    }.get(end)
    assert in_order(rich)


def test_a_repeated_batch_replays_item_by_item(rich: Ledger) -> None:
    items = [
        *(spend(1, key="1"), spend(200, "b", key="2"), credit(9, "b", key="3")),
        *(spend(150, "b", key="4", shortfall="PARTIAL"), spend(2, key="1"), spend(0, key="5")),
        credit(500, "c", key="6", ceiling_balance=7),
    ]
    first = post_batch(rich, *items)
    assert words(first) == ["ok", "LG001", "ok", "ok", "LG002", "22023", "ok"]
    before = everything_but_updated_at(rich)
    again = post_batch(rich, *items)
    assert words(again) == ["replayed" if word == "ok" else word for word in words(first)]
    for one, other in zip(first, again, strict=True):
        names = ("seq", "amount", "requested_amount", "running_balance", "created_at", "key")
        assert [one[name] for name in names] == [other[name] for name in names]
    assert [row["balance"] for row in again if row["replayed"]] == [99, 0, 0, 7]
    assert everything_but_updated_at(rich) == before


def test_a_batch_that_was_half_posted_before_posts_the_rest(rich: Ledger) -> None:
    items = [spend(n, key=f"k{n}") for n in range(1, 9)]
    post_batch(rich, *items[::2])
    assert words(post_batch(rich, *items)) == ["replayed", "ok"] * 4
    assert posted(rich, "a") == [100, -1, -3, -5, -7, -2, -4, -6, -8]
    assert in_order(rich)


def everything_but_updated_at(db: Ledger) -> list[Any]:
    return [row for row in everything(db) if row["what"] != "balance"] + db.execute(
        "select to_jsonb(b) - 'updated_at' from pgledger.balances b order by account_id"
    ).fetchall()


# External ids


def test_an_external_id_has_one_effect_per_direction(rich: Ledger) -> None:
    paid_ = {"type": "TOP_UP", "external_id": "pi_1"}
    rows = post_batch(
        rich,
        credit(5, **paid_),
        credit(5, **paid_, key="k"),
        credit(6, **paid_),
        spend(5, type="REFUND", external_id="pi_1", shortfall="FORCE"),
        spend(5, type="REFUND", external_id="pi_1", shortfall="FORCE"),
        credit(5, "b", **paid_),
    )
    assert words(rows) == ["ok", "replayed", "LG002", "ok", "replayed", "ok"]
    assert [row["seq"] for row in rows] == [2, 2, None, 3, 3, 2]
    assert posted(rich, "a") == [100, 5, -5]
    again = post_batch(rich, spend(1), credit(5, **paid_), spend(1))
    assert words(again) == ["ok", "replayed", "ok"]
    assert in_order(rich)


def test_an_external_id_that_waits_to_be_enabled_is_not_posted_beside(rich: Ledger) -> None:
    ask(rich, "top_up", account_id="a", amount=5, key="p", is_active=False, external_id="pi_1")
    rows = post_batch(rich, credit(5, type="TOP_UP", external_id="pi_1"), credit(1))
    assert words(rows) == ["LG002", "ok"]


# Accounts that are not there, or not open


def test_a_credit_opens_an_account_and_what_came_before_was_short(db: Ledger) -> None:
    assert words(post_batch(db, spend(3, "new"), credit(5, "new"), spend(3, "new"))) == [
        *("LG001", "ok", "ok")
    ]
    assert words(post_batch(db, credit(5, "newer"), spend(3, "newer"), spend(3, "newer"))) == [
        *("ok", "ok", "LG001")
    ]
    assert (posted(db, "new"), posted(db, "newer")) == ([5, -3], [5, -3])
    assert ask(db, "get_balance", account_id="newer")["currency"] == "CREDIT"
    assert in_order(db)


def test_the_first_movement_of_a_batch_opens_its_account(db: Ledger) -> None:
    write_history(db, "old", 5)
    rows = post_batch(db, credit(5), spend(2), spend(1, "old"))
    assert [row["seq"] for row in rows] == [1, 2, 2]
    found = db.execute("select account_id from pgledger.accounts order by 1").fetchall()
    assert [row["account_id"] for row in found] == ["a", "old"]
    assert in_order(db)


def test_an_account_of_which_only_a_debit_is_forced_is_opened_by_it(db: Ledger) -> None:
    (row,) = post_batch(db, spend(5, shortfall="FORCE"))
    assert (row["seq"], row["balance"]) == (1, -5)
    assert ask(db, "get_balance", account_id="a")["status"] == "OPEN"
    assert in_order(db)


def test_history_without_a_balance_row_is_spendable_in_a_batch(db: Ledger) -> None:
    write_history(db, "a", 50, -20, key="k")
    rows = post_batch(db, spend(20, key="k2"), spend(10), spend(21), credit(1), spend(21))
    assert words(rows) == ["replayed", "ok", "LG001", "ok", "ok"]
    assert [row["seq"] for row in rows] == [2, 3, None, 4, 5]
    assert in_order(db)


def test_a_batch_of_repeats_of_history_leaves_no_balance_row(db: Ledger) -> None:
    write_history(db, "a", 50, -20, key="k")
    before = everything(db)
    rows = post_batch(db, spend(20, key="k2"), spend(20, key="k2"))
    assert [(row["replayed"], row["balance"]) for row in rows] == [(True, 30)] * 2
    assert everything(db) == before


def test_a_frozen_account_takes_credits_and_what_is_forced(rich: Ledger) -> None:
    ask(rich, "spend", account_id="a", amount=1, key="k")
    ask(rich, "set_account_status", account_id="a", status="FROZEN")
    rows = post_batch(
        rich,
        *(spend(1), credit(5), spend(2, shortfall="FORCE"), spend(1, shortfall="PARTIAL")),
        *(spend(1, shortfall="DEBT"), spend(1, key="k"), spend(1, "b")),
    )
    assert words(rows) == ["LG004", "ok", "ok", "LG004", "LG004", "replayed", "ok"]
    assert rows[0]["error"]["detail"]["status"] == "FROZEN"
    assert posted(rich, "a") == [100, -1, 5, -2]
    assert in_order(rich)


def test_a_closed_account_takes_nothing_but_repeats(rich: Ledger) -> None:
    ask(rich, "spend", account_id="a", amount=100, key="k")
    ask(rich, "set_account_status", account_id="a", status="CLOSED")
    rows = post_batch(
        rich, credit(5), spend(1), spend(1, shortfall="FORCE"), spend(100, key="k"), spend(1, "b")
    )
    assert words(rows) == ["LG004", "LG004", "LG004", "replayed", "ok"]
    assert posted(rich, "a") == [100, -100]


# Floors and shortfalls


def test_a_spend_goes_down_to_min_balance_and_a_debt_to_debt_floor(rich: Ledger) -> None:
    ask(rich, "set_limits", account_id="a", min_balance=-5, debt_floor=-20)
    rows = post_batch(
        rich,
        *(spend(106), spend(105), spend(1), spend(1, shortfall="PARTIAL")),
        *(spend(16, shortfall="DEBT"), spend(15, shortfall="DEBT"), spend(1, shortfall="DEBT")),
        *(spend(1000, shortfall="FORCE"), credit(1100), spend(200, shortfall="PARTIAL")),
    )
    assert words(rows) == [
        *("LG001", "ok", "LG001", "LG001", "LG001", "ok", "LG001", "ok", "ok", "ok")
    ]
    assert [row["balance"] for row in rows] == [100, -5, -5, -5, -5, -20, -20, -1020, 80, -5]
    assert rows[-1]["amount"] == -85
    floors = [row["error"]["detail"]["floor"] for row in rows if row["error"]]
    assert floors == [-5, -5, -5, -20, -20]
    assert in_order(rich)


def test_partial_takes_what_earlier_items_left(rich: Ledger) -> None:
    rows = post_batch(rich, *[spend(40, shortfall="PARTIAL", key=f"k{n}") for n in range(4)])
    assert [(row["amount"], row["requested_amount"]) for row in rows] == [
        (-40, -40),
        (-40, -40),
        (-20, -40),
        (0, -40),
    ]
    assert words(rows) == ["ok", "ok", "ok", "LG001"]
    again = post_batch(rich, spend(40, shortfall="PARTIAL", key="k2"))
    assert [(row["amount"], row["requested_amount"], row["replayed"]) for row in again] == [
        (-20, -40, True)
    ]
    assert in_order(rich)


def test_what_holds_reserve_is_not_there_for_a_batch(rich: Ledger) -> None:
    ask(rich, "hold", account_id="a", amount=60, key="h")
    rows = post_batch(rich, spend(40), spend(1), spend(1, shortfall="PARTIAL"), credit(2), spend(2))
    assert words(rows) == ["ok", "LG001", "LG001", "ok", "ok"]
    assert [row["available"] for row in rows] == [0, 0, 0, 2, 0]
    ask(rich, "capture", account_id="a", key="h")
    assert in_order(rich)


def test_a_ceiling_is_judged_at_each_items_place(rich: Ledger) -> None:
    rows = post_batch(
        rich,
        *(credit(30, ceiling_balance=120), credit(30, ceiling_balance=120), spend(15)),
        *(credit(30, ceiling_balance=120, key="k"), credit(9, ceiling_balance=130)),
        *(credit(1, ceiling_balance=100), spend(1, ceiling_balance=1)),
    )
    assert words(rows) == ["ok", "LG005", "ok", "ok", "ok", "LG005", "ok"]
    assert [row["amount"] for row in rows] == [20, 0, -15, 15, 9, 0, -1]
    assert rows[3]["requested_amount"] == 30
    assert rows[5]["error"]["detail"]["balance"] == 129
    (again,) = post_batch(rich, credit(30, ceiling_balance=120, key="k"))
    assert (again["replayed"], again["amount"]) == (True, 15)


# The edges of bigint


def test_credits_up_to_the_last_bigint(db: Ledger) -> None:
    rows = post_batch(
        db, credit(HIGHEST), credit(1), spend(1), credit(1), credit(1), spend(HIGHEST), spend(1)
    )
    assert words(rows) == ["ok", "22003", "ok", "ok", "22003", "ok", "LG001"]
    assert [row["balance"] for row in rows if row["refusal"] is None] == [
        *(HIGHEST, HIGHEST - 1, HIGHEST, 0)
    ]
    assert in_order(db)


def test_a_batch_whose_sum_is_no_bigint_though_each_item_fits(db: Ledger) -> None:
    half = 2**62
    rows = post_batch(db, *[credit(half, "a", key=f"k{n}") for n in range(4)])
    assert words(rows) == ["ok", "22003", "22003", "22003"]
    # In between they fit, because what came before was spent.
    rows = post_batch(db, *[spend(half), credit(half)] * 4)
    assert words(rows) == ["ok"] * 8
    rows = post_batch(db, *[credit(half, f"c{n}") for n in range(4)])
    assert words(rows) == ["ok"] * 4
    assert in_order(db)


def test_debts_down_to_the_lowest_bigint(db: Ledger) -> None:
    forced = {"shortfall": "FORCE"}
    rows = post_batch(
        db, spend(HIGHEST, **forced), spend(1, **forced), spend(1, **forced), credit(1), spend(1)
    )
    assert words(rows) == ["ok", "ok", "22003", "ok", "LG001"]
    assert rows[1]["balance"] == LOWEST
    assert in_order(db)


def test_a_floor_at_the_lowest_bigint_is_no_trap(db: Ledger) -> None:
    ask(db, "open_account", account_id="a", min_balance=LOWEST)
    half = 2**62
    rows = post_batch(db, spend(half), spend(half), spend(1), credit(half), spend(half))
    assert words(rows)[:2] == ["ok", "ok"]
    # The floor refuses it, or the range: both are the lowest bigint.
    assert words(rows)[2] in {"LG001", "22003"}
    assert words(rows)[3:] == ["ok", "ok"]
    assert in_order(db)


def test_huge_spends_of_a_poor_account_are_refused_one_by_one(rich: Ledger) -> None:
    rows = post_batch(rich, spend(HIGHEST), spend(HIGHEST), spend(1), spend(HIGHEST), spend(99))
    assert words(rows) == ["LG001", "LG001", "ok", "LG001", "ok"]


def test_the_lowest_bigint_is_a_misuse_of_its_item(rich: Ledger) -> None:
    rows = post_batch(rich, *[spend(1) | {"amount": LOWEST}] * 2, spend(1))
    assert words(rows) == ["22023", "22023", "ok"]
    assert rows[0]["requested_amount"] == LOWEST


# All or nothing


def test_an_atomic_batch_that_is_accepted_is_answered_like_another(rich: Ledger) -> None:
    items = [spend(5, key="k"), credit(3, "b"), spend(5, key="k"), spend(200, shortfall="PARTIAL")]
    rows = post_batch(rich, *items, atomic=True)
    assert words(rows) == ["ok", "ok", "replayed", "ok"]
    assert [row["balance"] for row in rows] == [95, 103, 95, 0]
    assert in_order(rich)


@pytest.mark.parametrize("place", [1, 2, 4])
def test_an_atomic_batch_is_refused_with_the_first_refusal_and_its_place(
    rich: Ledger, place: int
) -> None:
    ask(rich, "spend", account_id="a", amount=1, key="taken")
    before = everything(rich)
    for refused, sqlstate in [
        (spend(200), "LG001"),
        (spend(2, key="taken"), "LG002"),
        (credit(1, ceiling_balance=0), "LG005"),
        (spend(0), "22023"),
        (spend(1) | {"type": None}, "22004"),
        (spend(1) | {"account_id": None}, "22004"),
        (credit(HIGHEST), "22003"),
        (spend(1, key="#"), "22023"),
        (spend(1, shortfall="none"), "22023"),
        (credit(1, expires_at=day(-1)), "22023"),
    ]:
        items = [spend(1, key="k"), credit(1, "b"), spend(1, "new", shortfall="FORCE")]
        items.insert(place - 1, refused)
        with pytest.raises(psycopg.Error) as caught:
            post_batch(rich, *items, spend(1000), atomic=True)
        assert caught.value.sqlstate == sqlstate
        details = json.loads(caught.value.diag.message_detail or "")
        assert details.pop("item") == place
        assert everything(rich) == before
        with rich.transaction(force_rollback=True):
            row = post_batch(rich, *items)[place - 1]
        assert row["refusal"] == sqlstate
        assert row["error"] == {
            "message": caught.value.diag.message_primary,
            "detail": details,
            "hint": caught.value.diag.message_hint,
        }


def test_the_first_refusal_is_the_first_of_the_input_and_not_of_an_account(rich: Ledger) -> None:
    with pytest.raises(psycopg.Error) as caught:
        post_batch(rich, spend(1, "b"), spend(200, "b"), spend(0, "a"), atomic=True)
    assert caught.value.sqlstate == "LG001"
    assert json.loads(caught.value.diag.message_detail or "")["item"] == 2
    with pytest.raises(psycopg.Error) as caught:
        post_batch(rich, spend(1, "a"), spend(0, "b"), spend(200, "a"), atomic=True)
    assert caught.value.sqlstate == "22023"
    assert json.loads(caught.value.diag.message_detail or "")["item"] == 2


# Size


def test_thousands_of_items_on_one_account(db: Ledger) -> None:
    ask(db, "top_up", account_id="a", amount=2500)
    rows = post_batch(db, *[spend(1, key=f"k{n}") for n in range(3000)])
    assert words(rows) == ["ok"] * 2500 + ["LG001"] * 500
    assert [row["seq"] for row in rows[:2500]] == list(range(2, 2502))
    assert [row["balance"] for row in rows] == [*range(2499, -1, -1), *[0] * 500]
    assert words(post_batch(db, *[spend(1, key=f"k{n}") for n in range(3000)])) == (
        ["replayed"] * 2500 + ["LG001"] * 500
    )
    assert in_order(db)


def test_thousands_of_items_over_many_accounts(db: Ledger) -> None:
    accounts = [f"account {n * 7919 % 1000}" for n in range(1000)]
    rows = post_batch(db, *[credit(10, account_id) for account_id in accounts])
    assert words(rows) == ["ok"] * 1000
    assert [row["account_id"] for row in rows] == accounts
    rows = post_batch(
        db, *[spend(4, account_id) for account_id in [*accounts, *reversed(accounts)]]
    )
    assert words(rows) == ["ok"] * 2000
    assert [row["balance"] for row in rows] == [6] * 1000 + [2] * 1000
    assert {row["seq"] for row in rows[1000:]} == {3}
    assert in_order(db)


# The rest of what a call is


def test_the_accounts_are_locked_in_the_order_of_their_bytes(rich: Ledger) -> None:
    rows = post_batch(rich, *[credit(1, account_id) for account_id in ("é", "Z", "a b", "a", "z")])
    assert [row["account_id"] for row in rows] == ["é", "Z", "a b", "a", "z"]
    assert in_order(rich)


def test_a_batch_sees_what_its_transaction_did_before(rich: Ledger) -> None:
    with rich.transaction():
        ask(rich, "spend", account_id="a", amount=60, key="k")
        rows = post_batch(rich, spend(60, key="k"), spend(50), spend(40))
        assert words(rows) == ["replayed", "LG001", "ok"]
        assert words(post_batch(rich, spend(1), credit(1), spend(1))) == ["LG001", "ok", "ok"]
    assert in_order(rich)


def test_two_batches_in_one_statement_follow_each_other(rich: Ledger) -> None:
    rich.execute(
        "select (pgledger.post_batch(array['a'], array[-60], array['USAGE']::"
        "pgledger.transaction_type[])).refusal from generate_series(1, 2)"
    )
    assert posted(rich, "a") == [100, -60]


def test_a_batch_whose_answers_are_not_read_is_posted_all_the_same(rich: Ledger) -> None:
    arguments, values = arguments_of([spend(1), spend(2), spend(3)])
    rich.execute(f"select from pgledger.post_batch({arguments}) limit 1".encode(), values)
    assert posted(rich, "a") == [100, -1, -2, -3]


def test_time_is_not_turned_back_by_a_long_batch(rich: Ledger) -> None:
    first = post_batch(rich, *[spend(1, "ab"[n % 2]) for n in range(20)])
    second = post_batch(rich, *[spend(1, "ab"[n % 2]) for n in range(20)])
    assert max(row["created_at"] for row in first) <= min(row["created_at"] for row in second)
    assert second[0]["created_at"] - first[0]["created_at"] < timedelta(hours=1)
