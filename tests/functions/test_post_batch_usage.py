"""post_batch, of items that say what was used rather than what it costs."""

import pytest

from tests.batches import Item, credit, post_batch, post_batch_json, spend, usage, words
from tests.prices import set_price
from tests.support import (
    Ledger,
    ask,
    ask_all,
    day,
    events,
    everything,
    give,
    in_order,
    posted,
    unreckoned,
    write_history,
)


@pytest.fixture
def priced(db: Ledger) -> Ledger:
    """Two accounts with 100 credits each, and a price list."""
    for account_id in ("a", "b"):
        ask(db, "top_up", account_id=account_id, amount=100)
    set_price(db, "m", {"in": "0.5", "out": 2, "free": 0})
    return db


def test_usage_is_priced_and_recorded_as_spend_usage_does(priced: Ledger) -> None:
    quantities = {"in": 3, "out": 1}
    single = ask(
        priced, "spend_usage", account_id="b", code="m", quantities=quantities, reference="chat"
    )
    row, after = post_batch(priced, usage("m", quantities, reference="chat"), spend(1))
    for one in (single, row):
        del one["account_id"], one["created_at"]
    assert row == single
    assert (row["amount"], row["requested_amount"], after["balance"]) == (-4, -4, 95)
    ours, theirs = (
        ask_all(priced, "get_transaction", account_id=account_id, key="#2")[0]
        for account_id in ("a", "b")
    )
    assert ours["usage"] == theirs["usage"]
    assert ours["usage"]["breakdown"]["in"]["quantity"] == 3
    assert (ours["type"], ours["reference"]) == ("USAGE", "chat")
    (plain,) = ask_all(priced, "get_transaction", account_id="a", key="#3")
    assert plain["usage"] is None
    assert in_order(priced)


def test_a_batch_of_usage_alone_needs_no_amounts(priced: Ledger) -> None:
    query = """
    select status, amount, error ->> 'message' as message
    from pgledger.post_batch(
      array['a', 'b'], null, array['USAGE', 'USAGE']::pgledger.transaction_type[],
      codes => array['m', null], quantities => array[jsonb '{"in": 3}', null])
    """
    assert priced.execute(query).fetchall() == [
        {"status": "POSTED", "amount": -2, "message": None},
        {"status": "REFUSED", "amount": 0, "message": "invalid amount"},
    ]
    assert in_order(priced)


def test_usage_and_amounts_stand_side_by_side(priced: Ledger) -> None:
    items = [
        *(usage("m", {"in": 1}), spend(5), usage("m", {"out": 60}), credit(40, "b")),
        *(usage("m", {"out": 60}, "b", shortfall="PARTIAL"), usage("m", {"out": 60}, "b")),
        usage("m", {"out": 3}, "b", shortfall="FORCE"),
    ]
    for post in (post_batch, post_batch_json):
        with priced.transaction(force_rollback=True):
            rows = post(priced, *items)
            assert words(rows) == ["ok", "ok", "LG001", "ok", "ok", "LG001", "ok"]
            assert posted(priced, "a") == [100, -1, -5]
            assert rows[2]["requested_amount"] == -120
            assert in_order(priced)


def test_a_repeat_of_usage_is_one_whatever_the_price_is_now(priced: Ledger) -> None:
    items = [usage("m", {"in": 3}, key="k"), usage("m", {"in": 3}, key="k"), spend(2, key="k")]
    assert words(post_batch(priced, *items)) == ["ok", "replayed", "LG002"]
    for prices in ({"in": 9}, {}):
        set_price(priced, "m", prices)
        rows = post_batch(priced, *items, usage("m", {"in": 4}, key="k"))
        assert words(rows) == ["replayed", "replayed", "LG002", "LG002"]
        assert rows[0]["amount"] == -2
    assert words(post_batch(priced, spend(5, key="s"), usage("m", {"in": 10}, key="s"))) == [
        *("ok", "LG002")
    ]
    assert in_order(priced)


def test_what_has_no_price_is_refused_alone(priced: Ledger) -> None:
    rows = post_batch(
        priced, usage("other", {"in": 1}), usage("m", {"in": 1, "up": 1}), usage("m", {"in": 1})
    )
    assert words(rows) == ["LG011", "LG011", "ok"]
    assert rows[0]["error"]["detail"]["code"] == "other"
    assert rows[1]["error"]["detail"]["unit"] == "up"
    assert posted(priced, "a") == [100, -1]


def test_what_cannot_have_been_used_is_a_misuse_of_its_item(priced: Ledger) -> None:
    before = everything(priced)
    for misused, parameter in [
        (usage("", {"in": 1}), "code"),
        (usage("a\nb", {"in": 1}), "code"),
        (usage("m", {}), "quantities"),
        (usage("m", {"in": -1}), "quantities"),
        (usage("m", {"in": "1"}), "quantities"),
        ({**usage("m", {}), "quantities": [1]}, "quantities"),
        ({**usage("m", {}), "quantities": None}, "quantities"),
        ({**usage("m", {"in": 1}), "code": None}, "code"),
    ]:
        with priced.transaction(force_rollback=True):
            rows = post_batch(priced, misused, usage("m", {"in": 1}))
            assert words(rows)[0] in {"22023", "22004"}, misused
            assert rows[0]["error"]["detail"]["parameter"] == parameter
            assert words(rows)[1] == "ok"
    assert everything(priced) == before


def test_a_cost_beyond_bigint_is_refused_alone(priced: Ledger) -> None:
    rows = post_batch(priced, usage("m", {"out": 2**63 - 1}), usage("m", {"out": 1}))
    assert words(rows) == ["22003", "ok"]


def test_what_costs_nothing_is_posted_where_the_account_is_open(priced: Ledger) -> None:
    write_history(priced, "old", 5, -5)
    ask(priced, "set_account_status", account_id="b", status="FROZEN")
    rows = post_batch(
        priced, *[usage("m", {"free": 9}, account_id) for account_id in ("a", "old", "b", "nobody")]
    )
    assert words(rows) == ["ok", "ok", "LG004", "LG001"]
    assert (posted(priced, "a"), posted(priced, "old")) == ([100, 0], [5, -5, 0])
    assert in_order(priced)


def test_what_costs_nothing_is_paid_by_no_lot(priced: Ledger) -> None:
    give(priced, "lot", 20, day(3))
    free = usage("m", {"free": 9})
    assert words(post_batch(priced, free, spend(3), free, usage("m", {"in": 2}))) == ["ok"] * 4
    assert words(post_batch(priced, free, free)) == ["ok"] * 2
    assert words(post_batch(priced, free, credit(2))) == ["ok"] * 2
    found = priced.execute(
        "select lot from pgledger.transactions where account_id = 'a' and amount = 0"
    ).fetchall()
    assert [row["lot"] for row in found] == [None] * 5
    assert unreckoned(priced) == []


def test_what_costs_nothing_stands_beside_what_does_not(priced: Ledger) -> None:
    free = usage("m", {"free": 9})
    rows = post_batch(
        priced, free, spend(3), free, spend(97), free, spend(1), free, credit(1), free
    )
    assert words(rows) == ["ok", "ok", "ok", "ok", "ok", "LG001", "ok", "ok", "ok"]
    ask(priced, "set_spending_cap", account_id="b", amount=5, period="1 day")
    ask(priced, "set_low_balance_level", account_id="b", level=98)
    items = [free, spend(3), free, spend(3), free, credit(1, type="GRANT"), free]
    rows = post_batch(priced, *[item | {"account_id": "b"} for item in items])
    assert words(rows) == ["ok", "ok", "ok", "LG008", "ok", "ok", "ok"]
    assert [payload["available"] for _, payload in events(priced, "b")] == [97]
    rows = post_batch(priced, *[free | {"account_id": "b", "key": key} for key in ("k", "k", "l")])
    assert words(rows) == ["ok", "replayed", "ok"]
    assert in_order(priced)


@pytest.mark.parametrize("quantities", [{"in": 1}, None], ids=["usage", "a code alone"])
def test_the_amount_of_usage_must_not_be_given(
    priced: Ledger, quantities: dict[str, int] | None
) -> None:
    given: Item = {**usage("m", {}), "quantities": quantities, "amount": -5}
    rows = post_batch(priced, given, given | {"shortfall": "FORCE"}, spend(1))
    assert [row["refusal"] for row in rows] == ["22023", "22023", None]
    assert posted(priced, "a") == [100, -1]


def test_quantities_without_a_code_are_a_misuse(priced: Ledger) -> None:
    for amount in (None, -5):
        given: Item = {**usage("m", {"in": 1}), "code": None, "amount": amount}
        rows = post_batch(priced, given, spend(1))
        assert rows[0]["status"] == "REFUSED"
        assert (rows[0]["refusal"] or "")[:2] == "22"


@pytest.mark.parametrize("unit", ["in", "free"])
def test_usage_is_of_type_usage(priced: Ledger, unit: str) -> None:
    rows = post_batch(priced, usage("m", {unit: 1}, type="GRANT"), spend(1))
    assert words(rows) == ["22023", "ok"]
    assert rows[0]["error"]["detail"]["parameter"] == "type"


def test_a_whole_batch_of_usage_is_atomic_too(priced: Ledger) -> None:
    rows = post_batch(
        priced, *[usage("m", {"in": 1}, "ab"[n % 2], key=f"k{n}") for n in range(40)], atomic=True
    )
    assert words(rows) == ["ok"] * 40
    assert {row["balance"] for row in rows[-2:]} == {80}
    assert in_order(priced)
