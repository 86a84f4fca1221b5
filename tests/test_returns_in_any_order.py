"""What is told of a payment, in any order and however often, against a plain-Python model.

`PGLEDGER_EXAMPLES=2000 pytest tests/test_returns_in_any_order.py` runs it for longer, elsewhere
each time.
"""

import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.returns import balance, dispute, pay, refund, takes
from tests.support import Ledger, ask, ask_all, day

GIVEN_EXAMPLES = os.environ.get("PGLEDGER_EXAMPLES")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
RANKS = {"PENDING": 0, "SUCCEEDED": 1, "FAILED": 2, "OPEN": 3, "LOST": 4, "WON": 5}
POLICIES = {"dp_1": "FLAG", "dp_2": "FREEZE", "dp_3": "DEDUCT"}
AMOUNTS = st.integers(0, 12)
# None is what a listing tells, which knows no time of the state.
TIMES = st.none() | st.integers(0, 2)
REFUNDS = st.tuples(
    st.sampled_from(["re_1", "re_2", "re_3"]),
    AMOUNTS,
    st.sampled_from(["PENDING", "SUCCEEDED", "FAILED"]),
    TIMES,
)
DISPUTES = st.tuples(
    st.sampled_from(sorted(POLICIES)), AMOUNTS, st.sampled_from(["OPEN", "LOST", "WON"]), TIMES
)
SUMS = st.tuples(st.just("pay"), AMOUNTS)
Fact = tuple[Any, ...]


@dataclass(frozen=True)
class Payment:
    """What was paid for how many credits, which expire or do not, and what is told of it."""

    credits: int
    paid: int
    expires: bool
    facts: list[Fact]

    def known(self) -> dict[str, Fact]:
        """The latest fact of each refund and dispute."""
        return {
            fact[0]: fact
            for fact in sorted(
                (fact for fact in self.facts if fact[0] != "pay"),
                key=lambda fact: (
                    -1 if fact[3] is None else fact[3],
                    RANKS[fact[2]],
                    fact[1],
                ),
            )
        }

    def taken(self) -> int:
        """How many credits its refunds and disputes take."""
        known = self.known().values()
        money: int = sum(
            amount
            for name, amount, status, _ in known
            if status in {"PENDING", "SUCCEEDED", "LOST"}
            or (status == "OPEN" and POLICIES[name] == "DEDUCT")
        )
        told: int = max(fact[1] for fact in self.facts if fact[0] == "pay")
        by_id = sum(amount for name, amount, _, _ in known if name not in POLICIES)
        money += max(told - by_id, 0)
        return self.credits * min(money, self.paid) // self.paid

    def frozen(self) -> bool:
        """Whether the dispute that freezes keeps the account frozen."""
        fact = self.known().get("dp_2")
        return fact is not None and fact[2] != "WON"


PAYMENTS = st.builds(
    Payment,
    credits=st.integers(1, 40),
    paid=st.integers(1, 12),
    expires=st.booleans(),
    # It is told at least once that it was paid, and nothing of refunds with it.
    facts=st.lists(REFUNDS | REFUNDS | DISPUTES | SUMS, max_size=8).map(
        lambda facts: [("pay", 0), *facts]
    ),
)


def tell(db: Ledger, payment: Payment, account_id: str, fact: Fact) -> None:
    suffix = account_id
    if fact[0] == "pay":
        pay(
            db,
            f"pi{suffix}",
            amount=payment.credits,
            paid=payment.paid,
            refunded=fact[1],
            account_id=account_id,
            expires_at=day(1) if payment.expires else None,
        )
        return
    name, amount, status, time = fact
    told = {
        "payment_id": f"pi{suffix}",
        "occurred_at": None if time is None else BEGAN + timedelta(days=time),
    }
    if name in POLICIES:
        dispute(db, name + suffix, amount, status, **told, policy=POLICIES[name])
    else:
        refund(db, name + suffix, amount, status, **told)


def check(db: Ledger, payment: Payment, order: list[Fact]) -> None:
    account_id = uuid.uuid4().hex
    # A gift that ends first: it must not pay for what was bought.
    ask(db, "grant_credits", account_id=account_id, amount=7, expires_at=day(0.5))
    for fact in order:
        tell(db, payment, account_id, fact)
        assert sum(takes(db, f"pi{account_id}").values()) <= payment.credits
        assert balance(db, account_id) >= 7
    assert balance(db, account_id) == 7 + payment.credits - payment.taken()
    (account,) = db.execute(
        "select status::text from pgledger.accounts where account_id = %s", [account_id]
    )
    assert account["status"] == ("FROZEN" if payment.frozen() else "OPEN")
    assert ask_all(db, "verify", account_id=account_id) == []

    # What is left of it expires, as if two days had passed.
    db.execute(
        "update pgledger.lots set expires_at = expires_at - interval '2 days'"
        " where account_id = %s",
        [account_id],
    )
    db.execute(
        "update pgledger.balances set attention_at = '-infinity' where account_id = %s",
        [account_id],
    )
    lasting = 0 if payment.expires else payment.credits - payment.taken()
    assert ask(db, "get_credits", account_id=account_id)["get_credits"] == lasting


@settings(
    max_examples=int(GIVEN_EXAMPLES or 40),
    deadline=None,
    derandomize=GIVEN_EXAMPLES is None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(payment=PAYMENTS, data=st.data())
def test_the_order_and_the_number_of_facts_do_not_matter(
    db: Ledger, payment: Payment, data: st.DataObject
) -> None:
    for _ in range(2):
        again = data.draw(st.lists(st.sampled_from(payment.facts), max_size=3))
        order = data.draw(st.permutations(payment.facts + again))
        event("taken in whole" if payment.taken() == payment.credits else "in part or not at all")
        check(db, payment, order)
