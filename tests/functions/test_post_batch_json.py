"""post_batch_json: post_batch for who has objects rather than arrays."""

import json
from typing import Any

import psycopg
import pytest

from tests.batches import Item, credit, post_batch, post_batch_json, spend, words
from tests.support import HIGHEST, LOWEST, Ledger, ask, ask_all, day, everything, in_order, posted

GOOD: Item = {"account_id": "a", "amount": -1, "type": "USAGE"}


@pytest.fixture
def rich(db: Ledger) -> Ledger:
    """Two accounts with 100 credits each."""
    for account_id in ("a", "b"):
        ask(db, "top_up", account_id=account_id, amount=100)
    return db


def raw(db: Ledger, items: str | None, atomic: str = "false") -> list[dict[str, Any]]:
    """Post what JSON says, letter by letter."""
    return db.execute(
        f"select * from pgledger.post_batch_json(%s::jsonb, {atomic})".encode(), [items]
    ).fetchall()


def refused_whole(db: Ledger, items: object, where: str, sqlstate: str = "22023") -> None:
    """Require that the call raises in words, leaves no trace, and names what is wrong."""
    before = everything(db)
    with pytest.raises(psycopg.Error) as caught:
        raw(db, items if isinstance(items, str) else json.dumps(items))
    said = caught.value.diag
    assert said.sqlstate == sqlstate, str(caught.value)
    assert said.message_hint
    assert everything(db) == before
    assert said.message_primary == f"invalid {where}"
    assert json.loads(said.message_detail or "")["parameter"] == where


def test_each_field_says_what_the_array_of_its_name_says(rich: Ledger) -> None:
    rows = post_batch_json(
        rich,
        spend(5, key="k", reference="chat", metadata={"model": "m", "nested": [1, {"x": None}]}),
        spend(500, "b", shortfall="PARTIAL", key="p"),
        credit(9, type="TOP_UP", external_id="pi_1", ceiling_balance=100, key="c"),
        credit(3, expires_at=day(3), priority=-2, key="lot"),
    )
    assert words(rows) == ["ok"] * 4
    assert [(row["account_id"], row["key"], row["amount"]) for row in rows] == [
        ("a", "k", -5),
        ("b", "p", -100),
        ("a", "c", 5),
        ("a", "lot", 3),
    ]
    assert [row["requested_amount"] for row in rows] == [-5, -500, 9, 3]
    (recorded,) = ask_all(rich, "get_transaction", account_id="a", key="k")
    assert (recorded["reference"], recorded["type"]) == ("chat", "USAGE")
    assert recorded["metadata"] == {"model": "m", "nested": [1, {"x": None}]}
    (recorded,) = ask_all(rich, "get_transaction", account_id="a", key="c")
    assert (recorded["external_id"], recorded["type"]) == ("pi_1", "TOP_UP")
    (lot,) = ask_all(rich, "lots", account_id="a")
    assert (lot["expires_at"], lot["priority"], lot["remaining"]) == (day(3), -2, 3)
    assert in_order(rich)


def test_it_answers_and_posts_what_post_batch_does(rich: Ledger) -> None:
    items = [
        *(spend(60, key="k"), spend(60), credit(5, "new"), spend(60, key="k"), spend(0)),
        *(spend(9, "new", shortfall="PARTIAL", key="p"), spend(1, key="#"), credit(HIGHEST)),
        spend(3, "b", shortfall="FORCE", metadata={}),
    ]
    answers = []
    for post in (post_batch, post_batch_json):
        with rich.transaction(force_rollback=True):
            rows = post(rich, *items)
            answers.append([{**row, "created_at": None} for row in rows])
            assert words(rows)[:6] == ["ok", "LG001", "ok", "replayed", "22023", "ok"]
    assert answers[0] == answers[1]


def test_what_is_absent_or_null_is_the_default(rich: Ledger) -> None:
    nothing = dict.fromkeys(
        ["key", "reference", "metadata", "shortfall", "external_id", "ceiling_balance"]
    )
    nothing |= dict.fromkeys(["expires_at", "priority"])
    rows = raw(rich, json.dumps([GOOD, GOOD | nothing]))
    assert words(rows) == ["ok", "ok"]
    assert [row["key"] for row in rows] == ["#2", "#3"]
    first, second = ask_all(rich, "history", account_id="a", limit_count=2)
    for name in ("reference", "external_id", "metadata", "usage"):
        assert first[name] == second[name]
    assert first["metadata"] == {}


@pytest.mark.parametrize("name", ["account_id", "amount", "type"])
def test_what_must_be_there_refuses_its_item_alone(rich: Ledger, name: str) -> None:
    absent = {key: value for key, value in GOOD.items() if key != name}
    rows = raw(rich, json.dumps([GOOD, absent, GOOD | {name: None}, GOOD]))
    assert words(rows) == ["ok", "22004", "22004", "ok"]
    assert rows[1]["error"]["detail"]["parameter"] == name
    assert posted(rich, "a") == [100, -1, -1]


def test_an_empty_array_has_no_answers(rich: Ledger) -> None:
    before = everything(rich)
    assert raw(rich, "[]") == []
    assert raw(rich, "[]", "true") == []
    assert everything(rich) == before


@pytest.mark.parametrize("items", ["null", "{}", '{"account_id": "a"}', "1", '"[]"', "true"])
def test_what_is_no_array_is_refused(rich: Ledger, items: str) -> None:
    refused_whole(rich, items, "items")


def test_what_is_nothing_is_refused(rich: Ledger) -> None:
    before = everything(rich)
    for items, atomic in [(None, "false"), ("[]", "null"), (json.dumps([GOOD]), "null")]:
        with pytest.raises(psycopg.Error) as caught:
            raw(rich, items, atomic)
        assert caught.value.sqlstate == "22004"
        assert caught.value.diag.message_hint
    assert everything(rich) == before


def test_what_is_no_object_refuses_the_whole_call_and_names_the_item(rich: Ledger) -> None:
    for item in (None, 1, "text", [], [GOOD], True):
        refused_whole(rich, [GOOD, item, GOOD], "items[2]")
        refused_whole(rich, [item], "items[1]")


def test_an_unknown_field_refuses_the_whole_call_and_names_the_item(rich: Ledger) -> None:
    for field in (
        *("acount_id", "account", "Amount", "keys", "reference_id", "is_active", "", "atomic"),
        *("raise_refusals", "fail_insufficient_credits", "seq", "usage"),
    ):
        refused_whole(rich, [GOOD, GOOD, GOOD | {field: None}], f"items[3].{field}")


WRONG: dict[str, list[object]] = {
    "account_id": [1, True, [], {}, ["a"]],
    "amount": ["1", "-1", True, [], {}, [1]],
    "type": [1, False, [], {}],
    "key": [1, True, ["k"], {"k": 1}],
    "reference": [1, False, [], {}],
    "shortfall": [1, True, [], {}],
    "external_id": [1, True, [], {}],
    "ceiling_balance": ["1", True, [], {}],
    "expires_at": [1, True, [], {}],
    "priority": ["1", False, [], {}],
}


def test_a_value_of_the_wrong_type_refuses_the_whole_call_and_names_the_item(
    rich: Ledger,
) -> None:
    for name, values in WRONG.items():
        for value in values:
            refused_whole(rich, [GOOD, GOOD | {name: value}], f"items[2].{name}")


def test_what_is_no_whole_number_in_range_is_refused_and_never_rounded(rich: Ledger) -> None:
    beyond = ["1.5", "-0.1", "1e-3", "-10.0", str(2**63), str(LOWEST - 1), "1e30", "1e400"]
    beyond_an_integer = [str(2**31), str(-(2**31) - 1)]
    for name, numbers in [
        ("amount", beyond),
        ("ceiling_balance", beyond),
        ("priority", beyond + beyond_an_integer),
    ]:
        for number in numbers:
            item = json.dumps(GOOD | {name: "here"}).replace('"here"', number)
            refused_whole(rich, f"[{item}]", f"items[1].{name}")


def test_a_whole_number_may_have_an_exponent(rich: Ledger) -> None:
    rows = raw(rich, '[{"account_id": "a", "type": "USAGE", "amount": -1e1, "key": "k"}]')
    assert [(row["amount"], row["balance"]) for row in rows] == [(-10, 90)]


def test_the_first_item_that_cannot_be_is_named(rich: Ledger) -> None:
    refused_whole(
        rich, [GOOD, GOOD | {"type": 1, "amount": "1"}, GOOD | {"x": 1}], "items[2].amount"
    )
    refused_whole(rich, [GOOD | {"x": 1}, 5], "items[2]")


def test_the_edges_of_bigint_keep_every_digit(db: Ledger) -> None:
    rows = post_batch_json(
        db,
        credit(HIGHEST, key="k", metadata={"n": 9007199254740993}),
        credit(HIGHEST - 1, "b", ceiling_balance=HIGHEST - 2),
        spend(HIGHEST),
    )
    assert words(rows) == ["ok", "ok", "ok"]
    assert [row["amount"] for row in rows] == [HIGHEST, HIGHEST - 2, -HIGHEST]
    (recorded,) = ask_all(db, "get_transaction", account_id="a", key="k")
    assert recorded["metadata"] == {"n": 9007199254740993}


def test_the_lowest_bigint_is_a_misuse_of_its_item_as_in_post_batch(rich: Ledger) -> None:
    rows = post_batch_json(rich, spend(1), spend(1) | {"amount": LOWEST})
    assert words(rows) == ["ok", "22023"]


def test_a_type_or_an_instant_that_is_none_is_refused_and_leaves_no_trace(rich: Ledger) -> None:
    before = everything(rich)
    unknown: list[tuple[Item, str]] = [
        ({"type": "usage"}, "22P02"),
        ({"type": ""}, "22P02"),
        ({"type": "HOLD"}, "22P02"),
        ({"amount": 1, "expires_at": "tomorrow morning"}, "22007"),
        ({"amount": 1, "expires_at": ""}, "22007"),
        ({"amount": 1, "expires_at": "2200-02-30"}, "22008"),
    ]
    for change, sqlstate in unknown:
        with pytest.raises(psycopg.Error) as caught:
            post_batch_json(rich, GOOD, GOOD | change)
        assert caught.value.sqlstate == sqlstate, change
    assert everything(rich) == before
    for expires_at in ("infinity", "-infinity", "2020-01-01T00:00:00Z"):
        rows = post_batch_json(rich, GOOD | {"amount": 1, "expires_at": expires_at})
        assert words(rows) == ["22023"]
    assert everything(rich) == before


def test_an_instant_is_read_with_its_zone(rich: Ledger) -> None:
    given = {"account_id": "a", "amount": 5, "type": "GRANT", "key": "lot"}
    post_batch_json(rich, given | {"expires_at": "2200-01-01T02:00:00+02:00"})
    rows = post_batch_json(rich, given | {"expires_at": "2200-01-01T00:00:00Z"})
    assert words(rows) == ["replayed"]


def test_metadata_that_is_no_object_is_a_misuse_of_its_item(rich: Ledger) -> None:
    for metadata in ([1], 5, "text", True):
        rows = post_batch_json(rich, GOOD, GOOD | {"metadata": metadata})
        assert words(rows) == ["ok", "22023"]
    assert in_order(rich)


def test_a_field_given_twice_counts_as_it_was_given_last(rich: Ledger) -> None:
    rows = raw(rich, '[{"account_id": "b", "account_id": "a", "amount": -1, "type": "USAGE"}]')
    assert [row["account_id"] for row in rows] == ["a"]


def test_a_misused_item_is_a_row(rich: Ledger) -> None:
    rows = post_batch_json(rich, spend(1, key="#"), spend(1), spend(0), spend(1, "a\nb"))
    assert words(rows) == ["22023", "ok", "22023", "22023"]
    assert posted(rich, "a") == [100, -1]


def test_an_atomic_one_is_refused_with_the_first_refusal_and_its_place(rich: Ledger) -> None:
    before = everything(rich)
    with pytest.raises(psycopg.Error) as caught:
        post_batch_json(rich, spend(1), credit(1, "b"), spend(200), spend(0), atomic=True)
    assert caught.value.sqlstate == "LG001"
    details = json.loads(caught.value.diag.message_detail or "")
    assert (details["item"], details["missing"]) == (3, 101)
    assert everything(rich) == before
    assert words(post_batch_json(rich, spend(1), credit(1, "b"), atomic=True)) == ["ok", "ok"]


def test_an_order_of_items_is_kept(rich: Ledger) -> None:
    rows = post_batch_json(rich, *[spend(1, "ab"[n % 2], key=f"k{n}") for n in range(40)])
    assert [row["key"] for row in rows] == [f"k{n}" for n in range(40)]
    assert words(rows) == ["ok"] * 40
