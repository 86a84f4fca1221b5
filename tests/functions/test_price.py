"""price and list_prices: what usage costs, and why."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tests.prices import in_force, set_price
from tests.support import HIGHEST, Ledger, ask, ask_all, everything, refused

LATER = datetime(2200, 1, 1, tzinfo=UTC)


def price(db: Ledger, code: str, quantities: object, at: datetime | None = None) -> DictRow:
    return ask(db, "price", code=code, quantities=Jsonb(quantities), at=at)


def test_usage_costs_the_sum_over_its_units_rounded_once(db: Ledger) -> None:
    made = set_price(db, "m", {"input_token": 0.0015, "output_token": 0.006, "image": 40})
    before = everything(db)
    answer = price(db, "m", {"input_token": 1200, "output_token": 351})
    assert answer == {
        "code": "m",
        "valid_from": made["valid_from"],
        "rounding": "CEIL",
        "cost": 4,
        "exact": Decimal("3.906"),
        "breakdown": {
            "input_token": {"quantity": 1200, "credits_per_unit": 0.0015, "credits": 1.8},
            "output_token": {"quantity": 351, "credits_per_unit": 0.006, "credits": 2.106},
        },
    }
    assert everything(db) == before


@pytest.mark.parametrize(
    ("rounding", "exact", "cost"),
    [
        ("CEIL", "0", 0),
        ("CEIL", "0.0000001", 1),
        ("CEIL", "2", 2),
        ("CEIL", "2.5", 3),
        ("FLOOR", "0.9999999", 0),
        ("FLOOR", "2", 2),
        ("FLOOR", "2.9999999", 2),
        ("HALF_EVEN", "0.5", 0),
        ("HALF_EVEN", "0.5000000001", 1),
        ("HALF_EVEN", "1.4999999999", 1),
        ("HALF_EVEN", "1.5", 2),
        ("HALF_EVEN", "2.5", 2),
        ("HALF_EVEN", "2.51", 3),
        ("HALF_EVEN", "3.5", 4),
        ("HALF_EVEN", "1000000000000000001.5", 1000000000000000002),
        ("HALF_EVEN", "1000000000000000000.5", 1000000000000000000),
        ("CEIL", "9223372036854775806.5", HIGHEST),
    ],
)
def test_it_is_rounded_as_the_list_says(db: Ledger, rounding: str, exact: str, cost: int) -> None:
    set_price(db, "m", {"in": exact}, rounding=rounding)
    answer = price(db, "m", {"in": 1})
    assert (answer["cost"], answer["exact"]) == (cost, Decimal(exact))
    # Of many small parts, too: no part is rounded.
    halves = {"in": Decimal(exact) / 2, "same": Decimal(exact) / 2}
    set_price(db, "n", {unit: f"{half:f}" for unit, half in halves.items()}, rounding=rounding)
    assert price(db, "n", {"in": 1, "same": 1})["cost"] == cost


def test_a_sum_of_tenths_is_exact(db: Ledger) -> None:
    set_price(db, "m", {"in": 0.1})
    assert price(db, "m", {"in": 3})["exact"] == Decimal("0.3")
    assert price(db, "m", {"in": 10})["cost"] == 1


def test_a_quantity_may_be_a_fraction_or_nothing(db: Ledger) -> None:
    set_price(db, "m", {"second": 2, "in": 1})
    answer = price(db, "m", {"second": 1.25, "in": 0})
    assert (answer["cost"], answer["exact"]) == (3, Decimal("2.5"))
    assert answer["breakdown"]["in"] == {"quantity": 0, "credits_per_unit": 1, "credits": 0}
    assert price(db, "m", {"in": 0})["cost"] == 0


def test_a_price_holds_from_its_instant_on(db: Ledger) -> None:
    first = set_price(db, "m", {"in": 1})["valid_from"]
    set_price(db, "m", {"in": 2}, valid_from=LATER)
    just_before = LATER.replace(year=2199, month=12, day=31, hour=23, minute=59, second=59)
    told = [price(db, "m", {"in": 10}, at)["cost"] for at in (first, None, just_before, LATER)]
    assert told == [10, 10, 10, 20]


def test_an_unknown_code_has_no_price(db: Ledger) -> None:
    set_price(db, "later", {"in": 1}, valid_from=LATER)
    set_price(db, "gone", {"in": 1})
    set_price(db, "gone", {})
    for code in ("unknown", "later", "gone", "Later"):
        details = refused(db, "LG011", "price", code=code, quantities={"in": 1})
        assert details.keys() == {"code", "at"}
        assert details["code"] == code
    at = "1999-12-31T23:59:59.999999Z"
    details = refused(db, "LG011", "price", code="later", quantities={"in": 1}, at=at)
    assert details == {"code": "later", "at": at}


def test_a_unit_that_the_list_lacks_has_no_price(db: Ledger) -> None:
    set_price(db, "m", {"out": 1, "in": 1})
    for quantity in (1, 0):
        details = refused(db, "LG011", "price", code="m", quantities={"in": 1, "image": quantity})
        assert details == {"code": "m", "unit": "image", "units": ["in", "out"]}


@pytest.mark.parametrize(
    "quantity",
    [-1, -0.5, "1", "NaN", "Infinity", True, None, [1], {"n": 1}, 10**40, Decimal("1e-41")],
    ids=str,
)
def test_a_quantity_is_a_number_of_0_or_more(db: Ledger, quantity: Any) -> None:  # noqa: ANN401
    set_price(db, "m", {"in": 1, "out": 1})
    given = Jsonb({"in": 1, "out": quantity}, dumps=exactly)
    details = refused(db, "22023", "price", code="m", quantities=given)
    assert details["parameter"] == "quantities"
    assert details["given"].startswith("out: ")


def exactly(quantities: dict[str, object]) -> str:
    return json.dumps(quantities, default=float)


@pytest.mark.parametrize("quantities", [{}, [1], 1, "in", True, {"": 1}, {"a\tb": 1}], ids=str)
def test_quantities_are_an_object_of_units(db: Ledger, quantities: object) -> None:
    set_price(db, "m", {"in": 1})
    details = refused(db, "22023", "price", code="m", quantities=Jsonb(quantities))
    assert details["parameter"] == "quantities"


def test_a_cost_is_a_bigint(db: Ledger) -> None:
    set_price(db, "m", {"in": 1})
    set_price(db, "dear", {"in": "9" * 40})
    assert price(db, "m", {"in": HIGHEST})["cost"] == HIGHEST
    for code, quantity in (("m", HIGHEST + 1), ("dear", 10**39), ("m", 10**39)):
        details = refused(db, "22003", "price", code=code, quantities={"in": quantity})
        assert details["code"] == code
    # A price above all is no cost of nothing.
    assert price(db, "dear", {"in": 0})["cost"] == 0


@pytest.mark.parametrize("missing", ["code", "quantities"])
def test_what_was_used_must_be_given(db: Ledger, missing: str) -> None:
    given: dict[str, object] = {"code": "m", "quantities": {"in": 1}, missing: None}
    assert refused(db, "22004", "price", **given)["parameter"] == missing


@pytest.mark.parametrize("at", ["infinity", "-infinity"])
def test_a_price_is_of_an_instant(db: Ledger, at: str) -> None:
    details = refused(db, "22023", "price", code="m", quantities={"in": 1}, at=at)
    assert details["parameter"] == "at"


# list_prices


def test_prices_are_listed_by_code_and_unit(db: Ledger) -> None:
    assert ask_all(db, "list_prices") == []
    made = {
        code: set_price(db, code, {"out": 2, "in": 1}, rounding="FLOOR", metadata={"of": code})
        for code in ("b", "a", "B")
    }
    assert ask_all(db, "list_prices") == [
        {
            "code": code,
            "valid_from": made[code]["valid_from"],
            "valid_until": None,
            "rounding": "FLOOR",
            "unit": unit,
            "credits_per_unit": each,
            "metadata": {"of": code},
        }
        for code in ("B", "a", "b")
        for unit, each in (("in", 1), ("out", 2))
    ]
    assert {row["code"] for row in ask_all(db, "list_prices", code="a")} == {"a"}
    assert ask_all(db, "list_prices", code="unknown") == []


def test_the_past_is_listed_when_asked_for_and_the_future_at_its_instant(db: Ledger) -> None:
    first = set_price(db, "m", {"in": 1})["valid_from"]
    second = set_price(db, "m", {"in": 2})["valid_from"]
    set_price(db, "m", {"in": 3}, valid_from=LATER)

    def listed(**given: object) -> list[tuple[object, object, int]]:
        return [
            (row["valid_from"], row["valid_until"], int(row["credits_per_unit"]))
            for row in ask_all(db, "list_prices", **given)
        ]

    old, now, new = (first, second, 1), (second, LATER, 2), (LATER, None, 3)
    assert listed() == [now]
    assert listed(at=first) == [old]
    assert listed(at=LATER) == listed(at="infinity") == [new]
    assert listed(include_past=True) == [now, old]
    assert listed(include_past=True, at="infinity") == [new, now, old]
    assert listed(at="-infinity") == listed(at="2000-01-01", include_past=True) == []


def test_what_is_no_longer_sold_is_listed_until_then(db: Ledger) -> None:
    set_price(db, "m", {"in": 1})
    ended = set_price(db, "m", {})["valid_from"]
    assert ask_all(db, "list_prices") == []
    (row,) = ask_all(db, "list_prices", include_past=True)
    assert row["valid_until"] == ended


def test_a_page_is_of_whole_codes(db: Ledger) -> None:
    for code in ("a", "b", "c"):
        set_price(db, code, {"in": 1, "out": 1})
        set_price(db, code, {"in": 2, "out": 2, "image": 3})

    def codes(**given: object) -> list[str]:
        return [row["code"] for row in ask_all(db, "list_prices", **given)]

    assert codes(limit_count=2) == ["a"] * 3 + ["b"] * 3
    assert codes(limit_count=2, after_code="b") == ["c"] * 3
    assert codes(limit_count=1, include_past=True) == ["a"] * 5
    assert codes(after_code="c") == []
    set_price(db, "a", {})
    assert codes(limit_count=1) == ["b"] * 3
    assert in_force(db, "a") == {}
    for wrong in (0, -1, 10_001):
        details = refused(db, "22023", "list_prices", limit_count=wrong)
        assert details["parameter"] == "limit_count"
