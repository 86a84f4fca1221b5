"""What the tests of payments share: a payment told, an event processed, and what became of it."""

from collections.abc import Mapping
from typing import Any, LiteralString

from psycopg.rows import DictRow

from tests.support import Ledger, ask, ask_all

RECORD: LiteralString = """
select * from pgledger.record_payment(
  'test', %s, 'SUCCEEDED', account_id => %s, key => %s, amount => 100, paid => 500,
  currency => 'usd')
"""


def announce(db: Ledger, key: str = "k", amount: int = 100, **more: object) -> DictRow:
    """Announce a top-up of account a, or of another."""
    given = {"account_id": "a", "amount": amount, "key": key, "is_active": False}
    return ask(db, "top_up", **(given | more))


def tell(db: Ledger, status: str = "SUCCEEDED", **more: object) -> DictRow:
    """Tell of a payment for the top-up k of account a, or of another."""
    given: dict[str, object] = {"provider": "test", "payment_id": "p", "status": status}
    given |= {"account_id": "a", "key": "k", "paid": 500, "currency": "usd"}
    return ask(db, "record_payment", **{n: v for n, v in (given | more).items() if v is not None})


def receive(db: Ledger, event_id: str = "e", **more: object) -> DictRow:
    """Record an event."""
    given = {"provider": "test", "event_id": event_id, "type": "t", "payload": "{}"}
    return ask(db, "record_payment_event", **(given | more))


def process(db: Ledger, *facts: Mapping[str, Any], event_id: str = "e") -> DictRow:
    """Process an event that was recorded."""
    given = {"provider": "test", "event_id": event_id, "facts": [dict(fact) for fact in facts]}
    return ask(db, "process_payment_event", **given)


def handle(db: Ledger, *facts: Mapping[str, Any], event_id: str = "e") -> DictRow:
    """Record and process an event, as a webhook does."""
    with db.transaction():
        receive(db, event_id)
        return process(db, *facts, event_id=event_id)


def payments(db: Ledger, **given: object) -> dict[str, tuple[str, int | None, str | None]]:
    """Return status, seq and reason of the payments by id."""
    return {
        row["payment_id"]: (row["status"], row["seq"], row["reason"])
        for row in ask_all(db, "list_payments", **given)
    }
