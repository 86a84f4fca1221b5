"""Random usage, holds of it and changes of price against a plain-Python model of what they cost.

`PGLEDGER_EXAMPLES=2000 pytest tests/test_usage_model.py` runs it for longer, elsewhere each time.
"""

import os
import uuid
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.prices import set_price
from tests.support import Ledger, ask, unreckoned

GIVEN_EXAMPLES = os.environ.get("PGLEDGER_EXAMPLES")
ROUNDINGS = {"CEIL": ROUND_CEILING, "FLOOR": ROUND_FLOOR, "HALF_EVEN": ROUND_HALF_EVEN}
PRICES = st.sampled_from(
    [{"in": "0.5", "out": "1.1"}, {"in": "7", "out": "0"}, {"in": "0.25", "out": "0.25"}] * 2
    + [{"in": "0", "out": "0"}, {"in": "1"}, {}]
)
# Few, so that a call is often repeated.
QUANTITIES = st.sampled_from(
    [{"in": 10}, {"in": 10, "out": 3}, {"in": 1, "out": 2.5}, {"out": 40}, {"in": 0}]
)
CODES = st.sampled_from(["m", "m", "n"])
KEYS = st.sampled_from(["k", "l", "o"])
SHORTFALLS = st.sampled_from(["REFUSE", "PARTIAL", "DEBT"])
HOLD = st.tuples(st.just("hold"), KEYS, CODES, QUANTITIES)
CAPTURE = st.tuples(st.just("capture"), KEYS, QUANTITIES, SHORTFALLS)
SPEND = st.tuples(st.just("spend"), KEYS | st.none(), CODES, QUANTITIES, SHORTFALLS)
STEPS = st.one_of(
    *(HOLD, CAPTURE, SPEND) * 2,
    st.tuples(st.just("credit"), st.integers(1, 60), st.booleans()),
    st.tuples(st.just("set_price"), CODES, PRICES, st.sampled_from(sorted(ROUNDINGS))),
    st.tuples(st.just("plain"), KEYS, st.integers(1, 30)),
    st.tuples(st.just("release"), KEYS),
)
FIRST = [
    ("credit", 30, True),
    ("credit", 30, False),
    ("set_price", "m", {"in": "0.5", "out": "1.1"}, "CEIL"),
    ("set_price", "n", {"in": "1", "out": "2"}, "FLOOR"),
]
DEBT_FLOOR = -15

Quantities = dict[str, float]
Answer = tuple[Any, ...]


@dataclass(frozen=True)
class PriceList:
    prices: dict[str, str]
    rounding: str

    def cost(self, quantities: Quantities) -> int | None:
        """What they cost, None where a unit has no price."""
        if not quantities.keys() <= self.prices.keys():
            return None
        exact = sum(
            (Decimal(self.prices[unit]) * Decimal(str(n)) for unit, n in quantities.items()),
            Decimal(0),
        )
        return int(exact.to_integral_value(rounding=ROUNDINGS[self.rounding]))


@dataclass
class Entry:
    """What a key is taken by; `asked` is the usage that a repeat must be of."""

    asked: tuple[str, Quantities] | int
    amount: int
    requested: int
    status: str
    held_at: PriceList | None = None
    used: Quantities | None = None


@dataclass
class Account:
    balance: int = 0
    lists: dict[str, PriceList] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)

    @property
    def available(self) -> int:
        held = (e.amount for e in self.entries.values() if e.status == "PENDING")
        return self.balance + sum(held)

    def applied(self, cost: int, shortfall: str) -> int | str:
        """How much of a cost applies, or why nothing does."""
        left = self.available - (DEBT_FLOOR if shortfall == "DEBT" else 0)
        if cost in {0, min(cost, left)}:
            return cost
        return left if shortfall == "PARTIAL" and left > 0 else "LG001"

    def told(self, entry: Entry, *, again: bool) -> Answer:
        return (entry.status, entry.amount, entry.requested, again, self.balance, self.available)

    def spend(self, key: str | None, asked: Any, cost: int | None, shortfall: str) -> Answer:  # noqa: ANN401 - usage, or an amount
        if key in self.entries:
            entry = self.entries[key]
            same = entry.held_at is None and entry.asked == asked
            return self.told(entry, again=True) if same else ("LG002",)
        if cost is None:
            return ("LG011",)
        applied = self.applied(cost, shortfall)
        if isinstance(applied, str):
            return (applied,)
        self.balance -= applied
        entry = Entry(asked, -applied, -cost, "POSTED")
        if key is not None:
            self.entries[key] = entry
        return self.told(entry, again=False)

    def hold(self, key: str, code: str, quantities: Quantities) -> Answer:
        if key in self.entries:
            entry = self.entries[key]
            same = entry.held_at is not None and entry.asked == (code, quantities)
            return self.told(entry, again=True) if same else ("LG002",)
        list_ = self.lists.get(code, PriceList({}, "CEIL"))
        cost = list_.cost(quantities)
        if not cost:
            return ("LG011",) if cost is None else ("22023",)
        if cost > self.available:
            return ("LG001",)
        entry = self.entries[key] = Entry((code, quantities), -cost, -cost, "PENDING", list_)
        return self.told(entry, again=False)

    def capture(self, key: str, quantities: Quantities, shortfall: str) -> Answer:
        entry = self.entries.get(key)
        if entry is None or entry.held_at is None:
            return ("LG006",) if entry is None else ("LG007",)
        if entry.used is not None:
            return self.told(entry, again=True) if entry.used == quantities else ("LG002",)
        if entry.status != "PENDING":
            return ("LG007",)
        cost = entry.held_at.cost(quantities)
        if cost is None:
            return ("LG011",)
        excess = self.applied(max(cost + entry.amount, 0), shortfall)
        if isinstance(excess, str):
            if shortfall != "PARTIAL":
                return (excess,)
            excess = 0
        entry.used = quantities
        entry.status = "POSTED" if cost else "CANCELLED"
        if cost:
            entry.amount, entry.requested = max(entry.amount, -cost), -cost
            self.balance += entry.amount - excess
        return self.told(entry, again=False)

    def release(self, key: str) -> Answer:
        entry = self.entries.get(key)
        if entry is None or entry.held_at is None or entry.status == "POSTED":
            return ("LG006",) if entry is None else ("LG007",)
        again = entry.status == "CANCELLED"
        entry.status = "CANCELLED"
        return self.told(entry, again=again)


def answered(db: Ledger, verb: str, **given: object) -> Answer:
    """What the ledger answers, in the words of the model."""
    try:
        row = ask(db, verb, **given, raise_refusals=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return (getattr(error, "sqlstate", str(error)),)
    if row["refusal"] is not None:
        return (row["refusal"],)
    told = ("status", "amount", "requested_amount", "replayed", "balance", "available")
    return tuple(row[name] for name in told)


def asked_and_expected(
    db: Ledger, account: Account, codes: dict[str, str], account_id: str, step: tuple[Any, ...]
) -> tuple[Answer, Answer]:
    """Take a step on both sides, the ledger's and the model's."""
    keyed = {"account_id": account_id, "key": step[1]}
    match step:
        case "spend", key, code, quantities, shortfall:
            usage = {"code": codes[code], "quantities": quantities, "shortfall": shortfall}
            cost = account.lists.get(code, PriceList({}, "CEIL")).cost(quantities)
            return (
                answered(db, "spend_usage", **keyed, **usage),
                account.spend(key, (code, quantities), cost, shortfall),
            )
        case "hold", key, code, quantities:
            usage = {"code": codes[code], "quantities": quantities}
            return answered(db, "hold_usage", **keyed, **usage), account.hold(key, code, quantities)
        case "capture", key, quantities, shortfall:
            usage = {"quantities": quantities, "shortfall": shortfall}
            return (
                answered(db, "capture_usage", **keyed, **usage),
                account.capture(key, quantities, shortfall),
            )
        case "plain", key, amount:
            return (
                answered(db, "spend", **keyed, amount=amount),
                account.spend(key, amount, amount, "REFUSE"),
            )
        case _:
            return answered(db, "release", **keyed), account.release(step[1])


def test_usage_costs_what_a_plain_model_says(db: Ledger) -> None:
    @settings(
        max_examples=int(GIVEN_EXAMPLES or 100),
        derandomize=GIVEN_EXAMPLES is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=st.lists(STEPS, min_size=10, max_size=30))
    def agree(steps: list[tuple[Any, ...]]) -> None:
        account, account_id = Account(), uuid.uuid4().hex
        codes = {code: f"{code} of {account_id}" for code in ("m", "n")}
        ask(db, "open_account", account_id=account_id)
        ask(db, "set_limits", account_id=account_id, min_balance=0, debt_floor=DEBT_FLOOR)
        for step in [*FIRST, *steps]:
            if step[0] == "credit":
                _, amount, is_lot = step
                more = {"expires_at": "2200-01-01"} if is_lot else {}
                ask(db, "grant_credits", account_id=account_id, amount=amount, **more)
                account.balance += amount
            elif step[0] == "set_price":
                _, code, prices, rounding = step
                if prices or code in account.lists:
                    set_price(db, codes[code], prices, rounding=rounding)
                    account.lists[code] = PriceList(prices, rounding)
            else:
                found, expected = asked_and_expected(db, account, codes, account_id, step)
                assert found == expected, step
        told = ask(db, "get_balance", account_id=account_id)
        assert (told["balance"], told["available"]) == (account.balance, account.available)
        found_usage = db.execute("select * from pgledger.verify(%s)", [account_id]).fetchall()
        assert found_usage == []

    agree()
    assert unreckoned(db) == []
