"""Compares what a payment provider has on record with the ledger, both ways.

Nothing is guessed. What the provider says of a payment that names its account, or that the ledger
knows already, is certain, and can be recorded as its event would have been; the rest is for people.
"""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeVar

from pgledger.client import Ledger
from pgledger.payments.charging import Books, Fact
from pgledger.records import DisputePolicy, Payment, PaymentReturn, RefundRequest

Row = TypeVar("Row")

Kind = Literal[
    "missing_in_ledger",
    "missing_at_provider",
    "account",
    "amount",
    "status",
    "refunded",
    "unmatched",
    "event",
    "pending",
    "refund_due",
]
Thing = Literal["payment", "refund", "dispute", "event", "top_up", "refund_request"]

# The type of the events as which --fix records what the provider says.
RECONCILED = "pgledger.reconciled"
# How much the two clocks may differ, and the provider be ahead of what it tells.
SKEW = timedelta(hours=1)
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the two do not agree on; ``id`` is the provider's, or the ledger's key.

    ``certain``: recording what the provider says would be right. ``failed`` says why that did not
    help.
    """

    kind: Kind
    record: Thing
    id: str
    account_id: str | None
    in_ledger: str | None
    at_provider: str | None
    certain: bool = False
    failed: str | None = None
    fact: Fact | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, what differs, and what differed before it was fixed."""

    provider: str
    since: datetime
    until: datetime
    payments: int
    refunds: int
    disputes: int
    differences: Sequence[Difference]
    fixed: Sequence[Difference] = ()


def reconcile(
    ledger: Ledger,
    books: Books,
    *,
    since: datetime,
    until: datetime,
    fix: bool = False,
    on_dispute: DisputePolicy | None = None,
    pending: timedelta = timedelta(days=2),
) -> Report:
    """Compare what was made from ``since`` on and before ``until``, which lies in the past.

    ``fix`` records what is certain, as events of the provider. A dispute that the ledger does not
    know is only certain with ``on_dispute``, which says what an open one does to its account.
    ``pending`` is how long a top-up may be announced without being paid or given up.
    """
    comparison = _Comparison(ledger, books, since, until, pending=pending, on_dispute=on_dispute)
    before = comparison.differences()
    if not fix:
        return comparison.report(before)
    failures = {
        (found.kind, found.id): failed
        for found in before
        if found.certain and (failed := _record(ledger, books.name, found)) is not None
    }
    after = [
        _with_failure(found, failures.get((found.kind, found.id)))
        for found in comparison.differences()
    ]
    left = {(found.kind, found.record, found.id) for found in after}
    fixed = [found for found in before if (found.kind, found.record, found.id) not in left]
    return comparison.report(after, fixed)


class _Comparison:
    """The provider's books, read once, against the ledger, read anew for each look."""

    def __init__(
        self,
        ledger: Ledger,
        books: Books,
        since: datetime,
        until: datetime,
        *,
        pending: timedelta,
        on_dispute: DisputePolicy | None,
    ) -> None:
        self._ledger = ledger
        self._books = books
        self._since = since
        self._until = until
        self._pending = pending
        self._on_dispute = on_dispute
        self._facts: dict[tuple[str, str], list[Fact]] = {}
        for fact in books.facts_since(since, until):
            self._keep(fact)

    def report(self, differences: Sequence[Difference], fixed: Sequence[Difference] = ()) -> Report:
        """Say what was compared, and what came of it."""
        count = Counter(record for record, _ in self._facts)
        return Report(
            self._books.name,
            self._since,
            self._until,
            count["payment"],
            count["refund"],
            count["dispute"],
            differences,
            fixed,
        )

    def differences(self) -> list[Difference]:
        """Compare everything; the answer is in the order in which it is to be fixed."""
        # Told of before it was made: the clocks differ.
        self._payments = {row.payment_id: row for row in self._payments_told()}
        self._returns = {row.return_id: row for row in self._returns_told()}
        missing = [*self._look_up_payments(), *self._look_up_returns()]
        found = [
            difference
            for (record, known_as), facts in sorted(self._facts.items(), key=_in_order)
            for difference in self._compare(record, known_as, facts)
        ]
        return [*found, *missing, *self._unsettled()]

    def _keep(self, fact: Fact) -> None:
        named = _NAMES.get(fact["record"])
        if named is not None:
            facts = self._facts.setdefault((fact["record"], fact[named]), [])
            if fact not in facts:
                facts.append(fact)

    def _look_up_payments(self) -> Iterator[Difference]:
        """Ask after payments that the ledger was told of in this time, and the books list not."""
        for row in self._payments.values():
            if ("payment", row.payment_id) in self._facts or not self._is_within(row.created_at):
                continue
            facts = list(self._books.facts_of(row.payment_id))
            for fact in facts:
                self._keep(fact)
            if row.status == "SUCCEEDED" and not facts:
                yield _of_payment("missing_at_provider", row, _paid(row), None)

    def _look_up_returns(self) -> Iterator[Difference]:
        for row in self._returns.values():
            record: Thing = "refund" if row.kind == "REFUND" else "dispute"
            # What is known only as a sum goes under the id of the payment.
            is_sum = row.return_id == row.payment_id
            if is_sum or (record, row.return_id) in self._facts:
                continue
            if not self._is_within(row.created_at):
                continue
            for fact in self._books.facts_of(row.payment_id):
                self._keep(fact)
            if (record, row.return_id) not in self._facts:
                yield Difference(
                    "missing_at_provider",
                    record,
                    row.return_id,
                    self._account_of(row.payment_id),
                    f"{row.status} {row.amount}",
                    None,
                )

    def _compare(self, record: str, known_as: str, facts: Sequence[Fact]) -> Iterator[Difference]:
        for fact in facts:
            if record == "payment":
                yield from self._compare_payment(fact, self._payments.get(known_as))
            else:
                yield from self._compare_return(record, known_as, fact)

    def _compare_payment(self, fact: Fact, row: Payment | None) -> Iterator[Difference]:
        said = f"{fact['status']} {fact.get('paid')} {fact.get('currency')}"
        if row is None:
            # What nobody paid is no difference, and what names no account may not be ours.
            if fact["status"] == "SUCCEEDED":
                yield Difference(
                    "missing_in_ledger",
                    "payment",
                    fact["payment_id"],
                    fact.get("account_id"),
                    None,
                    said,
                    certain="account_id" in fact,
                    fact=fact,
                )
            return
        of = partial(_of_payment, row=row, fact=fact)
        if "SUCCEEDED" in {row.status, fact["status"]} and row.status != fact["status"]:
            certain = fact["status"] == "SUCCEEDED"
            yield of("status", in_ledger=row.status, at_provider=said, certain=certain)
        elif row.status == "SUCCEEDED" and row.seq is None:
            yield of(
                "unmatched",
                in_ledger=row.reason,
                at_provider=said,
                certain="account_id" in fact,
            )
        if row.status != "SUCCEEDED":
            return
        for kind, names in _COMPARED.items():
            given = [fact.get(name) for name, _ in names]
            recorded = [getattr(row, column) for _, column in names]
            if any(
                None not in pair and pair[0] != pair[1]
                for pair in zip(given, recorded, strict=True)
            ):
                yield of(kind, in_ledger=_words(recorded), at_provider=_words(given))
        if fact.get("refunded", row.refunded) != row.refunded:
            yield of(
                "refunded",
                in_ledger=str(row.refunded),
                at_provider=str(fact["refunded"]),
                certain=fact["refunded"] > row.refunded,
            )

    def _compare_return(self, record: str, known_as: str, fact: Fact) -> Iterator[Difference]:
        row = self._returns.get(known_as)
        said = f"{fact['status']} {fact['amount']}"
        of = partial(
            Difference,
            record="refund" if record == "refund" else "dispute",
            id=known_as,
            account_id=self._account_of(fact["payment_id"]),
            in_ledger=None if row is None else f"{row.status} {row.amount}",
            at_provider=said,
            fact=fact,
        )
        if row is None:
            certain = self._is_ours(fact["payment_id"])
            if record == "dispute":
                certain = certain and self._on_dispute is not None
                # An inquiry takes no money, whatever a dispute does.
                if fact.get("policy") != "FLAG":
                    fact = {**fact, "policy": self._on_dispute}
            yield of("missing_in_ledger", certain=certain, fact=fact)
        elif row.amount != fact["amount"]:
            yield of("amount")
        elif row.status != fact["status"]:
            yield of("status", certain=True)

    def _unsettled(self) -> Iterator[Difference]:
        """Tell what the ledger alone knows to be unfinished."""
        for row in self._payments_told(unmatched=True):
            if ("payment", row.payment_id) not in self._facts and self._is_within(row.created_at):
                yield _of_payment("unmatched", row, row.reason, None)
        for status in ("FAILED", "RECEIVED"):
            for event in self._ledger.list_payment_events(
                status=status, provider=self._books.name, limit_count=PAGE
            ):
                if event.received_at < self._until:
                    said = (event.error or {}).get("message")
                    yield Difference(
                        "event", "event", event.event_id, None, f"{status} {event.type}", said
                    )
        for charge in self._ledger.list_pending_top_ups(
            before=self._until - self._pending, limit_count=PAGE
        ):
            yield Difference(
                "pending",
                "top_up",
                charge.key,
                charge.account_id,
                f"{charge.amount} since {charge.created_at:%Y-%m-%d}",
                None,
            )
        for request in self._refunds_due():
            yield Difference(
                "refund_due",
                "refund_request",
                request.key,
                request.account_id,
                f"{request.money} {request.money_currency} of {request.payment_id}",
                request.result,
            )

    def _refunds_due(self) -> Iterator[RefundRequest]:
        """Return approved refunds whose money has not been given back, nor was refused."""
        last: dict[str, Any] = {}
        while page := self._ledger.list_refund_requests("APPROVED", limit_count=PAGE, **last):
            for row in page:
                is_due = row.due_at is not None and (row.decided_at or row.created_at) < self._until
                if is_due and row.provider == self._books.name:
                    yield row
            last = {
                "before_at": page[-1].created_at,
                "before_account_id": page[-1].account_id,
                "before_key": page[-1].key,
            }

    def _account_of(self, payment_id: str) -> str | None:
        row = self._payments.get(payment_id)
        return None if row is None else row.account_id

    def _is_ours(self, payment_id: str) -> bool:
        """Tell whether the ledger has the payment, or its metadata name an account of ours."""
        if payment_id in self._payments:
            return True
        return any(
            "account_id" in fact
            for fact in self._books.facts_of(payment_id)
            if fact["record"] == "payment"
        )

    def _is_within(self, instant: datetime) -> bool:
        return self._since <= instant < self._until

    def _payments_told(self, *, unmatched: bool = False) -> Iterator[Payment]:
        return _pages(
            lambda until: self._ledger.list_payments(
                provider=self._books.name,
                since=self._since - SKEW,
                until=until,
                unmatched=unmatched,
                limit_count=PAGE,
            ),
            lambda row: row.created_at,
        )

    def _returns_told(self) -> Iterator[PaymentReturn]:
        return _pages(
            lambda until: self._ledger.list_payment_returns(
                provider=self._books.name, since=self._since - SKEW, until=until, limit_count=PAGE
            ),
            lambda row: row.created_at,
        )


# The provider's id of a thing, in a fact of it, in the order in which they are recorded.
_NAMES = {"payment": "payment_id", "refund": "refund_id", "dispute": "dispute_id"}
# By kind of difference what a fact says, and what the ledger has.
_COMPARED: dict[Kind, list[tuple[str, str]]] = {
    "account": [("account_id", "account_id"), ("key", "key")],
    "amount": [("paid", "paid"), ("currency", "paid_currency"), ("amount", "amount")],
}


def _in_order(item: tuple[tuple[str, str], object]) -> tuple[int, str]:
    (record, known_as), _ = item
    return list(_NAMES).index(record), known_as


def _pages(
    page: Callable[[datetime | None], list[Row]], at: Callable[[Row], datetime]
) -> Iterator[Row]:
    """Read a list from its newest row to its end, however long it is."""
    until = None
    while rows := page(until):
        yield from rows
        until = at(rows[-1])


def _of_payment(
    kind: Kind,
    row: Payment,
    in_ledger: str | None,
    at_provider: str | None,
    *,
    certain: bool = False,
    fact: Fact | None = None,
) -> Difference:
    return Difference(
        kind,
        "payment",
        row.payment_id,
        row.account_id,
        in_ledger,
        at_provider,
        certain=certain,
        fact=fact,
    )


def _paid(row: Payment) -> str:
    return f"{row.status} {row.paid} {row.paid_currency}"


def _words(values: Sequence[object]) -> str:
    return " ".join("?" if value is None else str(value) for value in values)


def _with_failure(found: Difference, failed: str | None) -> Difference:
    return found if failed is None else replace(found, failed=failed)


def _record(ledger: Ledger, provider: str, found: Difference) -> str | None:
    """Record what the provider says as an event of its own; say why that did not work."""
    facts = [found.fact or {}]
    name = f"reconcile-{uuid.uuid4()}"
    with ledger.transaction() as tx:
        tx.record_payment_event(provider, name, RECONCILED, json.dumps(facts, default=str))
        event = tx.process_payment_event(provider, name, facts)
    return (event.error or {}).get("message") if event.status == "FAILED" else None
