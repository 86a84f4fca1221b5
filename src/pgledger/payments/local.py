"""A provider in memory, for a first look and for tests: no money moves, nothing is kept."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from pgledger.payments.charging import (
    Charged,
    Declined,
    Fact,
    Money,
    Outcome,
    Processing,
    RefundOrder,
    RefundRefusedError,
)
from pgledger.records import Charge

_Status = Literal["SUCCEEDED", "PROCESSING", "FAILED"]


@dataclass(frozen=True, slots=True)
class _Payment:
    payment_id: str
    charge: Charge
    money: Money
    status: _Status
    reason: str | None
    at: datetime

    def outcome(self) -> Outcome:
        if self.status == "SUCCEEDED":
            return Charged(self.payment_id, self.money.amount, self.money.currency)
        if self.status == "PROCESSING":
            return Processing(self.payment_id)
        return Declined(self.reason or "", self.payment_id)


@dataclass(frozen=True, slots=True)
class _Return:
    """A refund or a dispute, as it stands, with the fact that tells of it."""

    payment_id: str
    money: Money
    at: datetime
    fact: Fact


@dataclass(slots=True)
class LocalProvider:
    """Charges and gives back at once, whoever it is, unless told otherwise by account.

    It has the methods of :class:`~pgledger.payments.Charger`, ``Refunder`` and ``Books``, and those
    by which a test or a demonstration stands in for payers and their banks. Its ids follow from
    what is asked for, so the same charge is the same payment in another process, too.
    """

    name: str = "local"
    _payments: dict[str, _Payment] = field(default_factory=dict)
    _returns: dict[str, _Return] = field(default_factory=dict)
    _declining: dict[str, tuple[str, bool]] = field(default_factory=dict)
    _slow: set[str] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    # What a worker asks for.

    def charge(self, charge: Charge, money: Money) -> Outcome:
        """Charge, once per idempotency key."""
        with self._lock:
            if charge.idempotency_key not in self._payments:
                reason, permanent = self._declining.get(charge.account_id, (None, False))
                if permanent:
                    return Declined(reason or "", permanent=True)
                slow = charge.account_id in self._slow
                status: _Status = "FAILED" if reason else "PROCESSING" if slow else "SUCCEEDED"
                self._payments[charge.idempotency_key] = _Payment(
                    _id("pay", charge.idempotency_key), charge, money, status, reason, _now()
                )
            return self._payments[charge.idempotency_key].outcome()

    def find(self, charge: Charge) -> Outcome | None:
        """Tell what became of the charge."""
        with self._lock:
            found = self._payments.get(charge.idempotency_key)
            return None if found is None else found.outcome()

    def refund(self, order: RefundOrder) -> Fact:
        """Give the money back, once per idempotency key, as far as it is there."""
        with self._lock:
            refund_id = _id("refund", order.idempotency_key)
            if refund_id not in self._returns:
                payment = self._paid(order.payment_id)
                if payment is None:
                    raise RefundRefusedError("no such payment")
                given = sum(
                    found.money.amount
                    for found in self._returns.values()
                    if found.payment_id == order.payment_id
                )
                if given + order.money.amount > payment.money.amount:
                    raise RefundRefusedError("more than was paid")
                at = _now()
                fact = {
                    "record": "refund",
                    "refund_id": refund_id,
                    "payment_id": order.payment_id,
                    "amount": order.money.amount,
                    "status": "SUCCEEDED",
                    "request_key": order.key,
                    "account_id": order.account_id,
                    "occurred_at": at.isoformat(),
                }
                self._returns[refund_id] = _Return(order.payment_id, order.money, at, fact)
            return self._returns[refund_id].fact

    def find_refund(self, order: RefundOrder) -> Fact | None:
        """Tell what became of the refund."""
        with self._lock:
            found = self._returns.get(_id("refund", order.idempotency_key))
            return None if found is None else found.fact

    # What reconcile asks for.

    def facts_since(self, since: datetime, until: datetime | None = None) -> Iterator[Fact]:
        """Tell what was made in that time, as it stands."""
        with self._lock:
            made = [(found.at, self._fact(found)) for found in self._payments.values()]
            made += [(found.at, found.fact) for found in self._returns.values()]
        for at, fact in sorted(made, key=lambda one: one[0]):
            if since <= at and (until is None or at < until):
                yield fact

    def facts_of(self, payment_id: str) -> Iterator[Fact]:
        """Tell of one payment."""
        for fact in self.facts_since(datetime.min.replace(tzinfo=UTC)):
            if fact["payment_id"] == payment_id:
                yield fact

    # What payers and their banks do.

    def pay(self, charge: Charge) -> Fact:
        """Pay a top-up as on a checkout page, for its price, and return the payment as a fact."""
        if charge.price is None or charge.price_currency is None:
            raise ValueError("a top-up that has no price cannot be paid")
        with self._lock:
            self.charge(charge, Money(charge.price, charge.price_currency))
            return self._fact(self._payments[charge.idempotency_key])

    def decline(
        self, account_id: str, reason: str = "card_declined", *, permanent: bool = False
    ) -> None:
        """Decline what the account is charged from now on; ``permanent``: it has no card."""
        with self._lock:
            self._declining[account_id] = (reason, permanent)

    def delay(self, account_id: str) -> None:
        """Say of the account's charges from now on that they are being processed."""
        with self._lock:
            self._slow.add(account_id)

    def accept(self, account_id: str) -> None:
        """Take the account's money again, that of charges in process included."""
        with self._lock:
            self._declining.pop(account_id, None)
            self._slow.discard(account_id)
            for key, payment in self._payments.items():
                if payment.charge.account_id == account_id and payment.status == "PROCESSING":
                    self._payments[key] = replace(payment, status="SUCCEEDED")

    def dispute(
        self,
        payment_id: str,
        *,
        status: Literal["OPEN", "LOST", "WON"] = "OPEN",
        reason: str = "fraudulent",
    ) -> Fact:
        """Let the payer's bank dispute a payment whole, or close that dispute; return the fact."""
        with self._lock:
            payment = self._paid(payment_id)
            if payment is None:
                raise ValueError(f"{payment_id} is no payment that was made")
            dispute_id = _id("dispute", payment_id)
            at = _now()
            fact = {
                "record": "dispute",
                "dispute_id": dispute_id,
                "payment_id": payment_id,
                "amount": payment.money.amount,
                "status": status,
                "reason": reason,
                "occurred_at": at.isoformat(),
            }
            self._returns[dispute_id] = _Return(payment_id, payment.money, at, fact)
            return fact

    def charged(self) -> dict[str, list[Money]]:
        """Return by account what was paid."""
        with self._lock:
            paid: dict[str, list[Money]] = {}
            for payment in self._payments.values():
                if payment.status == "SUCCEEDED":
                    paid.setdefault(payment.charge.account_id, []).append(payment.money)
            return paid

    def _paid(self, payment_id: str) -> _Payment | None:
        return next(
            (
                payment
                for payment in self._payments.values()
                if payment.payment_id == payment_id and payment.status == "SUCCEEDED"
            ),
            None,
        )

    def _fact(self, payment: _Payment) -> Fact:
        fact = {
            "record": "payment",
            "payment_id": payment.payment_id,
            "status": payment.status,
            "account_id": payment.charge.account_id,
            "key": payment.charge.key,
            "amount": payment.charge.amount,
            "paid": payment.money.amount,
            "currency": payment.money.currency,
            "occurred_at": payment.at.isoformat(),
        }
        return fact if payment.reason is None else {**fact, "reason": payment.reason}


def _id(kind: str, key: str) -> str:
    return f"{kind}_{sha256(key.encode()).hexdigest()[:16]}"


def _now() -> datetime:
    return datetime.now(UTC)
