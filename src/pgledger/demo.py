"""The main job as a story: credits are bought, held, spent, taken back, and accounted for.

It posts what can never be deleted, so it is for a database of its own. Time passes in it as it does
elsewhere: credits that end in three seconds are waited for.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TypeVar

from pgledger import calls
from pgledger.calls import Call
from pgledger.client import Ledger
from pgledger.errors import LedgerError
from pgledger.records import Balance, Posting, Transaction

ACCOUNT = "alice"
# How much of the journal is shown after a step.
SHOWN = 3
Chapter = Iterator[tuple[str, Sequence["Deed"]]]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Deed:
    """One call as a client makes it in SQL, and what came of it."""

    call: str
    answer: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the story; ``history`` is the end of the journal after it, newest first."""

    title: str
    deeds: Sequence[Deed]
    history: Sequence[Transaction]
    balance: Balance


def story(ledger: Ledger) -> Iterator[Step]:
    """Live through the story on ``ledger``, a step at a time."""
    chapters = (_bought, _spent, _streamed, _topped_up, _refused, _charged_back, _expired, _planned)
    for chapter in chapters:
        for title, deeds in chapter(ledger):
            yield Step(
                title,
                deeds,
                ledger.history(ACCOUNT, limit_count=SHOWN),
                ledger.get_balance(ACCOUNT),
            )
    yield Step(
        "Every balance can be explained, at any time, and checked.",
        _explained(ledger),
        [],
        ledger.get_balance(ACCOUNT),
    )


def _bought(ledger: Ledger) -> Chapter:
    yield (
        "Alice buys credits, which opens her account.",
        [_post(ledger, calls.top_up(ACCOUNT, 1000, key="order-1"))],
    )
    enable = calls.enable_transaction(ACCOUNT, "order-2", external_id="pi_42")
    yield (
        "A payment is announced; webhook and success page both enable it: paid once.",
        [
            _post(ledger, calls.top_up(ACCOUNT, 500, key="order-2", is_active=False)),
            _post(ledger, enable),
            _post(ledger, enable),
        ],
    )


def _spent(ledger: Ledger) -> Chapter:
    first = calls.spend(ACCOUNT, 120, key="msg-1", reference="chat-1")
    yield (
        "She spends; each spend names the chat it belongs to.",
        [
            _post(ledger, first),
            _post(ledger, calls.spend(ACCOUNT, 80, key="msg-2", reference="chat-1")),
            _post(ledger, calls.spend(ACCOUNT, 300, key="msg-3", reference="chat-2")),
        ],
    )
    yield (
        "The network fails, the client tries again with the same key: charged once.",
        [_post(ledger, first)],
    )


def _streamed(ledger: Ledger) -> Chapter:
    yield (
        "An answer streams. What it costs is not known, so an estimate is held.",
        [_post(ledger, calls.hold(ACCOUNT, 400, key="msg-4", reference="chat-2"))],
    )
    yield (
        "It is done: its cost is captured, once, and the rest is free again.",
        [
            _post(ledger, calls.capture(ACCOUNT, "msg-4", amount=180)),
            _post(ledger, calls.capture(ACCOUNT, "msg-4", amount=180)),
        ],
    )


def _topped_up(ledger: Ledger) -> Chapter:
    settings = calls.set_auto_top_up(ACCOUNT, 200, 800)
    set_up = ledger.run(settings)
    spent = _post(ledger, calls.spend(ACCOUNT, 700, key="job-1", reference="report-7"))
    claim = calls.claim_events()
    (event,) = ledger.run(claim)
    asked = ", ".join(f"{name} {event.payload[name]}" for name in ("key", "amount", "available"))
    acknowledge = calls.ack_events([event.account_id], [event.seq])
    yield (
        "She sets an auto-top-up. The spend that leaves less than 200 asks for it.",
        [
            Deed(spelled(settings), f"{set_up.mode}: below {set_up.threshold}, {set_up.amount}"),
            spent,
            Deed(spelled(claim), f"{event.kind}: {asked}"),
            Deed(spelled(acknowledge), f"{ledger.run(acknowledge)} handled"),
        ],
    )
    yield (
        "Her card is charged, and what was asked for is enabled.",
        [
            _post(
                ledger,
                calls.enable_transaction(ACCOUNT, str(event.payload["key"]), external_id="pi_43"),
            )
        ],
    )


def _refused(ledger: Ledger) -> Chapter:
    yield (
        "More than she has is refused in exact figures, or spent as far as it goes.",
        [
            _post(ledger, calls.spend(ACCOUNT, 1500, key="job-2", reference="report-8")),
            _post(
                ledger,
                calls.spend(ACCOUNT, 1500, key="job-2", reference="report-8", shortfall="PARTIAL"),
            ),
        ],
    )


def _charged_back(ledger: Ledger) -> Chapter:
    yield (
        "Her bank takes a payment back. Its credits are spent: that leaves a debt.",
        [
            _post(
                ledger,
                calls.refund(
                    ACCOUNT,
                    "order-2",
                    key="dispute-1",
                    external_id="dp_1",
                    fail_insufficient_credits=False,
                ),
            ),
            _post(ledger, calls.spend(ACCOUNT, 10, key="msg-5", reference="chat-3")),
        ],
    )
    yield (
        "She ran out, so a top-up was asked for; paid now, it clears the debt.",
        [
            _post(ledger, calls.enable_transaction(ACCOUNT, "#auto-2", external_id="pi_44")),
            _post(ledger, calls.spend(ACCOUNT, 10, key="msg-5", reference="chat-3")),
        ],
    )


def _expired(ledger: Ledger) -> Chapter:
    # Whole seconds read better; between two and three of them are left.
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    spend = calls.spend(ACCOUNT, 30, key="msg-6", reference="chat-3")
    paid_by = calls.explain_transaction(ACCOUNT, "msg-6")
    yield (
        "She is granted a trial that ends in three seconds. What ends first is spent first.",
        [
            _post(ledger, calls.grant_credits(ACCOUNT, 100, key="trial-1", expires_at=expires_at)),
            _post(ledger, spend),
            Deed(
                spelled(paid_by),
                "; ".join(
                    f"{draw.amount} from {draw.lot_key}: {draw.reason}"
                    for draw in ledger.run(paid_by)
                ),
            ),
        ],
    )
    while datetime.now(UTC) <= expires_at:
        time.sleep(0.05)
    left = calls.get_credits(ACCOUNT)
    yield (
        "Three seconds later the rest is gone. Nothing ran: her next movement posts it.",
        [
            Deed(spelled(left), f"{ledger.run(left)} available"),
            _post(ledger, calls.spend(ACCOUNT, 20, key="msg-7", reference="chat-3")),
        ],
    )


def _planned(ledger: Ledger) -> Chapter:
    create = calls.create_plan("pro", 300, "1 month", "RESET")
    created = ledger.run(create)
    assign = calls.assign_plan(ACCOUNT, "pro")
    assigned = ledger.run(assign)
    yield (
        "A plan gives her 300 a month that do not roll over: a lot that ends with its month.",
        [
            Deed(
                spelled(create),
                f"{created.policy}: {created.amount} each {created.period.removeprefix('1 ')}",
            ),
            Deed(spelled(assign), f"granted; again on {assigned.refill_at:%Y-%m-%d}"),
            _post(ledger, calls.spend(ACCOUNT, 50, key="msg-8", reference="chat-3")),
        ],
    )


def _explained(ledger: Ledger) -> Sequence[Deed]:
    balance = calls.explain_balance(ACCOUNT)
    usage = calls.usage_by_reference(ACCOUNT)
    bought = ledger.history(ACCOUNT)[-1].created_at
    then = calls.balance_at(ACCOUNT, bought)
    verify = calls.verify()
    return [
        Deed(
            spelled(balance),
            "; ".join(f"{row.item} {row.amount}" for row in ledger.run(balance)),
        ),
        Deed(
            spelled(usage),
            ", ".join(f"{row.reference}: {row.amount}" for row in ledger.run(usage)),
        ),
        Deed(spelled(then), f"balance {ledger.run(then)}"),
        Deed(spelled(verify), f"{len(ledger.run(verify))} disagreements"),
    ]


def spelled(call: Call[R]) -> str:
    """Return a call as SQL that a person would write."""
    function = re.search(rb"pgledger\.(\w+)\(", call.query)
    # By position as long as it is plain what is meant, and by name from then on.
    plain = list(takewhile({"account_id", "code", "amount"}.__contains__, call.arguments))
    arguments = ", ".join(
        _literal(value) if name in plain else f"{name} => {_literal(value)}"
        for name, value in call.arguments.items()
    )
    return f"{function[1].decode() if function else ''}({arguments})"


def _literal(value: object) -> str:
    if isinstance(value, list):
        return f"'{{{','.join(str(item) for item in value)}}}'"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f"'{value}'"


def _post(ledger: Ledger, call: Call[Posting]) -> Deed:
    try:
        return Deed(spelled(call), _posted(ledger.run(call)))
    except LedgerError as error:
        values = {name: error.details.get(name) for name in ("available", "requested", "missing")}
        figures = ", ".join(f"{name} {value}" for name, value in values.items())
        return Deed(spelled(call), f"{error.sqlstate} {error.message}: {figures}")


def _posted(posting: Posting) -> str:
    if posting.replayed:
        return f"replayed, nothing changed; {posting.available} available"
    if posting.status == "PENDING":
        return f"PENDING {posting.amount:+}; {posting.available} available"
    return f"POSTED {posting.amount:+}; {posting.available} available"
