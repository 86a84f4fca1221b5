"""Faults planted in priced usage and in price lists, each named by verify."""

import pytest

from tests.functions.test_verify import JOURNAL, PENDING, plant
from tests.prices import set_price
from tests.support import Ledger, ask, ask_all, in_order, let_pass, write_history

ADDS_UP = "usage adds up"
LISTED = "usage has the prices of its list"
COSTS = "amount is what its usage costs"
EXCESS = "an excess is what its capture left"
RUNNING = "running_balance is the previous one plus amount"
SUM = "balance is the sum of amounts"
PART = "amount is part of requested_amount"


@pytest.fixture
def busy(db: Ledger) -> Ledger:
    """A ledger with usage of every kind in it."""
    ask(db, "top_up", account_id="a", amount=100)
    set_price(db, "m", {"in": 0.5, "out": "0.25", "other": 1})
    set_price(db, "n", {"in": 0.5}, rounding="HALF_EVEN")
    used = {"account_id": "a", "code": "m", "quantities": {"in": 3, "out": 5}}
    ask(db, "spend_usage", **used, key="spent")  # seq 2, costs 3 (2.75)
    ask(db, "spend_usage", account_id="a", code="n", quantities={"in": 5}, key="even")
    ask(db, "spend_usage", account_id="a", code="n", quantities={"in": 1}, key="free")
    ask(db, "hold_usage", **used, key="open")
    for key, quantity in (("part", 2), ("beyond", 40), ("nothing", 0)):
        ask(db, "hold_usage", **used, key=key, reference="r")
        ask(db, "capture_usage", account_id="a", key=key, quantities={"in": quantity})
    ask(db, "hold_usage", **used, key="whole")
    ask(db, "capture", account_id="a", key="whole")
    ask(
        db, "spend_usage", **(used | {"quantities": {"in": 900}}), key="partly", shortfall="PARTIAL"
    )
    set_price(db, "m", {"in": 7})
    set_price(db, "n", {})
    assert in_order(db)
    return db


def usage_set(path: str, to: str) -> str:
    return f"usage = jsonb_set(usage, '{{{path}}}', '{to}')"


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (JOURNAL + usage_set("exact", "2.7") + " where key = 'spent'", [(ADDS_UP, 2)]),
        (JOURNAL + usage_set("exact", '"2.75"') + " where key = 'spent'", [(ADDS_UP, 2)]),
        (
            JOURNAL + usage_set("breakdown,in,credits", "1.4") + " where key = 'spent'",
            [(ADDS_UP, 2)],
        ),
        (
            JOURNAL + usage_set("breakdown,in,credits", "null") + " where key = 'spent'",
            [(ADDS_UP, 2)],
        ),
        (
            JOURNAL + usage_set("breakdown,in,quantity", "3.4") + " where key = 'spent'",
            [(ADDS_UP, 2)],
        ),
        (
            JOURNAL + usage_set("breakdown,in,quantity", "9") + " where key = 'spent'",
            [(COSTS, 2), (ADDS_UP, 2)],
        ),
        (
            JOURNAL + usage_set("breakdown,in,quantity", '"3"') + " where key = 'spent'",
            [(COSTS, 2), (ADDS_UP, 2)],
        ),
        (
            JOURNAL + usage_set("breakdown", "[]") + " where key = 'spent'",
            [(ADDS_UP, 2), (LISTED, 2)],
        ),
        (JOURNAL + "usage = '{}' where key = 'spent'", [(ADDS_UP, 2), (LISTED, 2)]),
        (JOURNAL + "usage = '[1]' where key = 'spent'", [(ADDS_UP, 2), (LISTED, 2)]),
        (JOURNAL + usage_set("code", '"n"') + " where key = 'spent'", [(LISTED, 2)]),
        (JOURNAL + usage_set("rounding", '"FLOOR"') + " where key = 'spent'", [(LISTED, 2)]),
        (JOURNAL + usage_set("rounding", '"UP"') + " where key = 'spent'", [(LISTED, 2)]),
        (
            JOURNAL
            + usage_set("valid_from", '"2026-01-01T00:00:00.000000Z"')
            + " where key = 'spent'",
            [(LISTED, 2)],
        ),
        (JOURNAL + usage_set("valid_from", '"never"') + " where key = 'spent'", [(LISTED, 2)]),
        (
            JOURNAL + 'usage = \'{"exact": 2, "code": "m"}\' || jsonb_build_object(\'rounding\','
            " 'CEIL', 'valid_from', usage -> 'valid_from', 'breakdown',"
            ' \'{"in": {"quantity": 2, "credits_per_unit": 1, "credits": 2}}\'::jsonb)'
            " where key = 'part'",
            [(COSTS, 5), (LISTED, 5)],
        ),
        (JOURNAL + "amount = -4 where key = 'spent'", [(COSTS, 2), (RUNNING, 2), (SUM, 9)]),
        (
            JOURNAL + "amount = -3 where key = 'even'",
            [(COSTS, 3), (RUNNING, 3), (SUM, 9)],
        ),
        (
            JOURNAL + "amount = -1 where key = 'free'",
            [(COSTS, 4), (RUNNING, 4), (SUM, 9)],
        ),
        (JOURNAL + "requested_amount = -451 where key = 'partly'", [(COSTS, 9)]),
        (JOURNAL + "type = 'ADJUSTMENT' where key = 'spent'", [(COSTS, 2)]),
        (
            JOURNAL + "requested_amount = -21 where key = 'beyond'",
            [(COSTS, 6), (EXCESS, 7)],
        ),
        (JOURNAL + "requested_amount = null where key = 'beyond'", [(COSTS, 6), (EXCESS, 7)]),
        (JOURNAL + "usage = null where key = 'beyond'", [(EXCESS, 7)]),
        (JOURNAL + "key = '#excess-5' where key = '#excess-6'", [(EXCESS, 7)]),
        (JOURNAL + "key = '#excess-1' where key = 'spent'", [(EXCESS, 2)]),
        (JOURNAL + "reference = 'other' where key = '#excess-6'", [(EXCESS, 7)]),
        (
            JOURNAL + "requested_amount = -18 where key = '#excess-6'",
            [(EXCESS, 7)],
        ),
        (
            JOURNAL + usage_set("breakdown,in,quantity", "4") + " where key = 'whole'",
            [(ADDS_UP, 8), (COSTS, 8)],
        ),
        (PENDING + usage_set("exact", "2.7") + " where key = 'open'", [(ADDS_UP, None)]),
        (PENDING + usage_set("code", '"n"') + " where key = 'open'", [(LISTED, None)]),
        (
            PENDING + "amount = -4 where key = 'open'",
            [(COSTS, None), ("held is the sum of open holds", 9)],
        ),
        ("delete from pgledger.price_lists where code = 'n'", [(LISTED, 3), (LISTED, 4)]),
        (
            "delete from pgledger.prices where code = 'n'",
            [(LISTED, 3), (LISTED, 4)],
        ),
        (
            "update pgledger.prices set credits_per_unit = 0.6 where code = 'n'",
            [(LISTED, 3), (LISTED, 4)],
        ),
        (
            "update pgledger.price_lists set rounding = 'CEIL' where code = 'n'",
            [(COSTS, 3), (COSTS, 4), (LISTED, 3), (LISTED, 4)],
        ),
    ],
)
def test_a_planted_fault_is_named(
    busy: Ledger, fault: str, named: list[tuple[str, int | None]]
) -> None:
    plant(busy, fault)
    found = [(row["rule"], row["seq"]) for row in ask_all(busy, "verify", account_id="a")]
    assert sorted(found, key=str) == sorted(named, key=str)
    assert {row["rule"] for row in ask_all(busy, "verify")} == {rule for rule, _ in named}


def test_what_is_expected_and_found_is_said(busy: Ledger) -> None:
    plant(busy, JOURNAL + usage_set("exact", "2.7") + " where key = 'spent'")
    (row,) = ask_all(busy, "verify")
    assert (row["key"], row["expected"], row["found"]) == ("spent", "2.75", "2.7")


def test_the_list_of_usage_holds_whatever_comes_after_it(busy: Ledger) -> None:
    let_pass(busy, "400 days")
    set_price(busy, "m", {"in": 8, "out": 9})
    busy.execute("set time zone 'Asia/Kathmandu'")
    assert in_order(busy)


def test_history_of_another_system_has_no_usage(busy: Ledger) -> None:
    write_history(busy, "foreign", 5, -2)
    assert in_order(busy)
