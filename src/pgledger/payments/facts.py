"""Recording what a provider says of one thing, as the processing of its events does it."""

from datetime import datetime
from typing import Any

from pgledger.client import Ledger
from pgledger.payments.charging import Fact
from pgledger.records import Payment


def parameters(fact: Fact) -> dict[str, Any]:
    """Return what a fact tells, as arguments; a fact is JSON, in which an instant is a text."""
    given = {name: value for name, value in fact.items() if name != "record"}
    if isinstance(given.get("occurred_at"), str):
        given["occurred_at"] = datetime.fromisoformat(given["occurred_at"])
    return given


def record_refund(ledger: Ledger, provider: str, fact: Fact) -> Payment:
    """Record a refund and return its payment; a repeat changes nothing."""
    return ledger.record_payment_refund(provider, **parameters(fact))
