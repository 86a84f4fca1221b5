"""set_price: what is in force never changes; what is to come may be replaced."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.conftest import Connect
from tests.prices import in_force, list_of, set_price
from tests.sessions import SNAPSHOT_LEVELS
from tests.support import Ledger, ask, ask_all, everything, labels, let_pass, refused

NEXT_YEAR = datetime(2200, 1, 1, tzinfo=UTC)
AFTER_THAT = datetime(2201, 1, 1, tzinfo=UTC)


def test_a_price_list_is_recorded_as_given(db: Ledger) -> None:
    made = ask(
        db,
        "set_price",
        code="m",
        prices=Jsonb({"in": 2, "out": "0.0015", "cached": 0}),
        rounding="HALF_EVEN",
        metadata={"from": "a page"},
    )
    valid_from = made.pop("valid_from")
    (moment,) = db.execute("select %s <= clock_timestamp() as past", [valid_from]).fetchall()
    assert moment["past"]
    assert made == {
        "code": "m",
        "rounding": "HALF_EVEN",
        "prices": {"in": 2, "out": 0.0015, "cached": 0},
        "metadata": {"from": "a page"},
        "changed": True,
    }
    assert in_force(db, "m") == {"in": Decimal(2), "out": Decimal("0.0015"), "cached": Decimal(0)}


def test_it_rounds_up_unless_said_otherwise(db: Ledger) -> None:
    made = set_price(db, "m", {"in": 1})
    assert (made["rounding"], made["metadata"]) == ("CEIL", {})
    assert labels(db, "price_rounding") == ["CEIL", "FLOOR", "HALF_EVEN"]


def test_another_price_is_another_list_and_the_old_one_stays(db: Ledger) -> None:
    first = set_price(db, "m", {"in": 1, "out": 2})
    second = set_price(db, "m", {"in": 1, "out": 3})
    assert second["valid_from"] > first["valid_from"]
    assert in_force(db, "m") == {"in": 1, "out": 3}
    assert in_force(db, "m", at=first["valid_from"]) == {"in": 1, "out": 2}


@pytest.mark.parametrize(
    "other",
    [{}, {"metadata": {"other": 1}}, {"prices": {"out": "2.000", "in": "1e0"}}],
    ids=["same", "other metadata", "spelt otherwise"],
)
def test_a_repeat_writes_nothing_and_answers_with_what_is_in_force(
    db: Ledger, other: dict[str, Any]
) -> None:
    given = {"code": "m", "prices": {"in": 1, "out": 2.0}, "metadata": {"a": 1}}
    first = ask(db, "set_price", **given)
    before = everything(db)
    assert ask(db, "set_price", **(given | other)) == first | {"changed": False}
    assert everything(db) == before


@pytest.mark.parametrize(
    "other",
    [
        {"prices": {"in": 1}},
        {"prices": {"in": 1, "out": 2, "more": 0}},
        {"prices": {"in": 1, "out": "2.0000000001"}},
        {"rounding": "FLOOR"},
    ],
    ids=str,
)
def test_any_other_price_unit_or_rounding_is_a_change(db: Ledger, other: dict[str, Any]) -> None:
    given = {"code": "m", "prices": {"in": 1, "out": 2}}
    ask(db, "set_price", **given)
    assert ask(db, "set_price", **(given | other))["changed"] is True


def test_a_price_back_is_a_change_again(db: Ledger) -> None:
    for price in (1, 2, 1):
        assert set_price(db, "m", {"in": price})["changed"] is True
    assert len(list_of(db, "m")) == 3


def test_a_list_to_come_holds_from_then_on(db: Ledger) -> None:
    now = set_price(db, "m", {"in": 1})
    later = set_price(db, "m", {"in": 2}, valid_from=NEXT_YEAR)
    assert (later["valid_from"], later["changed"]) == (NEXT_YEAR, True)
    assert in_force(db, "m") == {"in": 1}
    assert in_force(db, "m", at=NEXT_YEAR) == {"in": 2}
    assert in_force(db, "m", at=NEXT_YEAR.replace(year=2199)) == {"in": 1}
    # A change now is only until then.
    assert set_price(db, "m", {"in": 3})["changed"] is True
    assert in_force(db, "m", at=NEXT_YEAR) == {"in": 2}
    assert in_force(db, "m", at=now["valid_from"]) == {"in": 1}


def test_a_list_to_come_may_be_replaced(db: Ledger) -> None:
    set_price(db, "m", {"in": 2, "gone": 1}, valid_from=NEXT_YEAR, metadata={"a": 1})
    made = set_price(db, "m", {"in": 3}, valid_from=NEXT_YEAR, rounding="FLOOR", metadata={"b": 2})
    assert (made["rounding"], made["metadata"], made["changed"]) == ("FLOOR", {"b": 2}, True)
    assert in_force(db, "m", at=NEXT_YEAR) == {"in": 3}
    assert len(list_of(db, "m")) == 1
    assert set_price(db, "m", {"in": 3}, valid_from=NEXT_YEAR, rounding="FLOOR")["changed"] is False


def test_a_list_between_two_leaves_both(db: Ledger) -> None:
    set_price(db, "m", {"in": 1})
    set_price(db, "m", {"in": 3}, valid_from=AFTER_THAT)
    set_price(db, "m", {"in": 2}, valid_from=NEXT_YEAR)
    assert [in_force(db, "m", at=at) for at in (None, NEXT_YEAR, AFTER_THAT)] == [
        {"in": 1},
        {"in": 2},
        {"in": 3},
    ]


@pytest.mark.parametrize("before", ["1 microsecond", "1 second", "1 year"])
def test_nothing_is_changed_in_the_past(db: Ledger, before: str) -> None:
    made = set_price(db, "m", {"in": 1})
    (moment,) = db.execute("select clock_timestamp() - %s::interval as at", [before]).fetchall()
    details = refused(db, "22023", "set_price", code="m", prices={"in": 2}, valid_from=moment["at"])
    assert details["parameter"] == "valid_from"
    details = refused(
        db, "22023", "set_price", code="m", prices={"in": 2}, valid_from=made["valid_from"]
    )
    assert details["parameter"] == "valid_from"


def test_a_repeat_of_what_holds_by_now_is_no_change_of_the_past(db: Ledger) -> None:
    given = {"code": "m", "prices": {"in": 2}, "valid_from": NEXT_YEAR}
    ask(db, "set_price", **given)
    let_pass(db, "200 years")
    (moved,) = list_of(db, "m")
    again = ask(db, "set_price", **(given | {"valid_from": moved["valid_from"]}))
    assert (again["changed"], again["valid_from"]) == (False, moved["valid_from"])


@pytest.mark.parametrize("valid_from", ["infinity", "-infinity"])
def test_it_holds_from_a_finite_instant(db: Ledger, valid_from: str) -> None:
    given = {"code": "m", "prices": {"in": 2}, "valid_from": valid_from}
    assert refused(db, "22023", "set_price", **given)["parameter"] == "valid_from"


def test_no_prices_end_the_sale(db: Ledger) -> None:
    set_price(db, "m", {"in": 1})
    set_price(db, "n", {"in": 1})
    ended = set_price(db, "m", {})
    assert (ended["prices"], ended["changed"]) == ({}, True)
    assert in_force(db, "m") == {}
    assert in_force(db, "n") == {"in": 1}
    assert set_price(db, "m", {})["changed"] is False
    assert set_price(db, "m", {}, rounding="FLOOR")["changed"] is False
    assert set_price(db, "m", {"in": 1})["changed"] is True
    assert in_force(db, "m") == {"in": 1}


def test_what_was_never_sold_is_not_ended(db: Ledger) -> None:
    set_price(db, "m", {"in": 1}, valid_from=NEXT_YEAR)
    details = refused(db, "LG011", "set_price", code="m", prices=Jsonb({}))
    assert details.keys() == {"code", "at"}
    assert details["code"] == "m"
    assert set_price(db, "m", {}, valid_from=AFTER_THAT)["changed"] is True


@pytest.mark.parametrize(
    "price",
    [
        -1,
        "-1",
        -0.001,
        "NaN",
        "Infinity",
        "",
        " ",
        "1 2",
        "abc",
        "1e99",
        "0x10",
        "1_000",
        True,
        None,
        [1],
        {"usd": 1},
        "1" * 41,
        "0." + "1" * 41,
        "1" * 1000,
    ],
    ids=str,
)
def test_a_price_is_a_number_of_0_or_more(db: Ledger, price: object) -> None:
    details = refused(db, "22023", "set_price", code="m", prices=Jsonb({"good": 1, "bad": price}))
    assert details["parameter"] == "prices"
    assert details["given"].startswith("bad: ")


@pytest.mark.parametrize(
    ("price", "recorded"),
    [
        ("0", "0"),
        ("1e-7", "0.0000001"),
        ("1.5E+3", "1500"),
        (".5", "0.5"),
        ("2.", "2"),
        ("1" * 40, "1" * 40),
        ("0." + "1" * 40, "0." + "1" * 40),
        (0.1, "0.1"),
    ],
)
def test_a_price_is_recorded_exactly(db: Ledger, price: object, recorded: str) -> None:
    ask(db, "set_price", code="m", prices=Jsonb({"in": price}))
    assert in_force(db, "m") == {"in": Decimal(recorded)}


@pytest.mark.parametrize(
    "prices", [[1], 1, "in", True, {"": 1}, {"a\nb": 1}, {"x" * 256: 1}], ids=str
)
def test_prices_are_an_object_of_units(db: Ledger, prices: object) -> None:
    details = refused(db, "22023", "set_price", code="m", prices=Jsonb(prices))
    assert details["parameter"] == "prices"


def test_a_list_has_up_to_100_units(db: Ledger) -> None:
    many = {f"unit {number}": number for number in range(101)}
    assert refused(db, "22023", "set_price", code="m", prices=many)["parameter"] == "prices"
    many.popitem()
    assert len(set_price(db, "m", many)["prices"]) == 100


@pytest.mark.parametrize("missing", ["code", "prices", "rounding"])
def test_a_list_has_a_code_prices_and_a_rounding(db: Ledger, missing: str) -> None:
    given = {"code": "m", "prices": {"in": 1}, "rounding": "CEIL", missing: None}
    assert refused(db, "22004", "set_price", **given)["parameter"] == missing


def test_metadata_is_an_object(db: Ledger) -> None:
    given = {"code": "m", "prices": {"in": 1}, "metadata": [1]}
    assert refused(db, "22023", "set_price", **given)["parameter"] == "metadata"


def test_who_comes_second_waits_and_finds_nothing_to_change(connect: Connect) -> None:
    first, second = connect(autocommit=False), connect()
    made = set_price(first, "m", {"in": 1})
    second.execute("set lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        set_price(second, "m", {"in": 1})
    # Who only reads does not wait.
    assert ask_all(second, "list_prices") == []
    first.commit()
    assert set_price(second, "m", {"in": 1}) == made | {"changed": False}


@pytest.mark.parametrize("level", SNAPSHOT_LEVELS)
def test_a_list_that_a_snapshot_does_not_see_is_a_conflict(
    connect: Connect, level: LiteralString
) -> None:
    first, second = connect(), connect()
    first.execute(b"begin isolation level " + level.encode())
    ask_all(first, "list_prices")
    set_price(second, "m", {"in": 1}, valid_from=NEXT_YEAR)
    with pytest.raises(psycopg.errors.SerializationFailure):
        set_price(first, "m", {"in": 2}, valid_from=NEXT_YEAR)
    first.execute("rollback")
    assert in_force(first, "m", at=NEXT_YEAR) == {"in": 1}


def test_the_table_holds_what_the_function_checks(db: Ledger) -> None:
    set_price(db, "m", {"in": 1})
    for price in ("-1", "NaN", "Infinity"):
        with pytest.raises(psycopg.errors.CheckViolation):
            db.execute("update pgledger.prices set credits_per_unit = %s", [price])
