"""The main job as a story: credits are bought, spent, and accounted for.

It posts what can never be deleted, so it is for a database of its own.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pgledger import calls
from pgledger.calls import Call
from pgledger.client import Ledger
from pgledger.errors import LedgerError
from pgledger.records import Posting

ACCOUNT = "alice"
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Event:
    """One call as a client makes it in SQL, and what came of it."""

    call: str
    answer: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the story."""

    title: str
    events: Sequence[Event]


def story(ledger: Ledger) -> Iterator[Step]:
    """Live through the story on ``ledger``, a step at a time."""
    bought = ledger.top_up(ACCOUNT, 1000, key="order-1")
    yield Step(
        "Alice buys credits, which opens her account.",
        [Event(spelled(calls.top_up(ACCOUNT, 1000, key="order-1")), _posted(bought))],
    )

    enable = calls.enable_transaction(ACCOUNT, "order-2", external_id="pi_42")
    yield Step(
        "A payment is announced; webhook and success page both enable it: paid once.",
        [
            _post(ledger, calls.top_up(ACCOUNT, 500, key="order-2", is_active=False)),
            _post(ledger, enable),
            _post(ledger, enable),
        ],
    )

    first = calls.spend(ACCOUNT, 120, key="msg-1", reference="chat-1")
    yield Step(
        "She spends; each spend names the chat it belongs to.",
        [
            _post(ledger, first),
            _post(ledger, calls.spend(ACCOUNT, 80, key="msg-2", reference="chat-1")),
            _post(ledger, calls.spend(ACCOUNT, 300, key="msg-3", reference="chat-2")),
        ],
    )
    yield Step(
        "The network fails, the client tries again with the same key: charged once.",
        [_post(ledger, first)],
    )
    yield Step(
        "More than she has is refused in exact figures, or spent as far as it goes.",
        [
            _post(ledger, calls.spend(ACCOUNT, 1500, key="job-1", reference="report-7")),
            _post(
                ledger,
                calls.spend(ACCOUNT, 1500, key="job-2", reference="report-7", shortfall="PARTIAL"),
            ),
        ],
    )

    usage = calls.usage_by_reference(ACCOUNT)
    then = calls.balance_at(ACCOUNT, bought.created_at) if bought.created_at else None
    verify = calls.verify()
    yield Step(
        "Every balance can be explained, at any time, and checked.",
        [
            Event(
                spelled(usage),
                ", ".join(f"{row.reference}: {row.amount}" for row in ledger.run(usage)),
            ),
            *([Event(spelled(then), f"balance {ledger.run(then)}")] if then else []),
            Event(spelled(verify), f"{len(ledger.run(verify))} disagreements"),
        ],
    )


def spelled(call: Call[R]) -> str:
    """Return a call as SQL that a person would write."""
    function = re.search(rb"pgledger\.(\w+)\(", call.query)
    arguments = ", ".join(
        _literal(value) if name in {"account_id", "amount"} else f"{name} => {_literal(value)}"
        for name, value in call.arguments.items()
    )
    return f"{function[1].decode() if function else ''}({arguments})"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f"'{value}'"


def _post(ledger: Ledger, call: Call[Posting]) -> Event:
    try:
        return Event(spelled(call), _posted(ledger.run(call)))
    except LedgerError as error:
        values = {name: error.details.get(name) for name in ("available", "requested", "missing")}
        figures = ", ".join(f"{name} {value}" for name, value in values.items())
        return Event(spelled(call), f"{error.sqlstate} {error.message}: {figures}")


def _posted(posting: Posting) -> str:
    if posting.replayed:
        return f"replayed, nothing changed; {posting.available} available"
    if posting.status == "PENDING":
        return f"PENDING {posting.amount:+}; {posting.available} available"
    return f"POSTED {posting.amount:+}; {posting.available} available"
