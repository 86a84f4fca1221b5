"""What the ledger asks of a payment provider, and what it is told: nothing of any one provider.

A provider is a class of yours with the methods of :class:`Charger`, :class:`Refunder` or
:class:`Books`, as many of them as it can be asked for. Money is whole smallest units of a currency,
such as cents, never a float.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from pgledger.records import Charge

# What a provider says of one thing it knows: "record" names what it is (payment, refund, dispute,
# card_check, cancellation), the rest are the parameters of the function that records it
# (record_payment, record_payment_refund, ...) by name, but for the provider. As in an event.
Fact = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Money:
    """An amount above 0 in the smallest unit of its currency; the currency in lower case."""

    amount: int
    currency: str

    def __post_init__(self) -> None:
        """Refuse what no provider can be asked for."""
        if type(self.amount) is not int or self.amount <= 0:
            raise ValueError(
                f"amount: {self.amount!r} is not a whole number of smallest units above 0"
            )
        if not (isinstance(self.currency, str) and self.currency.isalpha()):
            raise ValueError(f"currency: {self.currency!r} is no code, such as usd")
        object.__setattr__(self, "currency", self.currency.lower())


@dataclass(frozen=True, slots=True)
class Charged:
    """The money is there, under the provider's id of the payment."""

    payment_id: str
    paid: int
    currency: str
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider said no. ``permanent``: asking again is of no use, as where there is no card.

    ``reason`` is a word of the provider's, such as card_declined: no data of the card or payer.
    """

    reason: str
    payment_id: str | None = None
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Processing:
    """The provider does not know yet, and will tell: by an event, or when it is asked again."""

    payment_id: str
    reason: str = "processing"


Outcome = Charged | Declined | Processing


class ProviderUnavailableError(Exception):
    """The provider could not be asked, or what it did is not known: ask again by the same key."""


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money of a payment that is to be given back, for the refund request ``key`` of the account.

    ``idempotency_key`` is the same whenever the same is asked. Above 1 ``claims`` the money may
    be on its way already.
    """

    account_id: str
    key: str
    payment_id: str
    money: Money
    idempotency_key: str
    claims: int = 1


@runtime_checkable
class Charger(Protocol):
    """Charges a card that is on file, its owner being absent."""

    @property
    def name(self) -> str:
        """The provider, as the ledger names it: ``stripe``."""
        ...

    def charge(self, charge: Charge, money: Money) -> Outcome:
        """Ask for the money, under ``charge.idempotency_key``: once, however often it is asked.

        The payment carries the account, the key, the credits and the attempt of the charge, so that
        find(), an event and a listing know it again. Raises :class:`ProviderUnavailableError` where
        the answer did not come, and the money may have.
        """
        ...

    def find(self, charge: Charge) -> Outcome | None:
        """Tell what became of an earlier charge() of this attempt; None where there was none.

        However long ago that was: an idempotency key is forgotten after some time.
        """
        ...


@runtime_checkable
class Refunder(Protocol):
    """Gives money back."""

    @property
    def name(self) -> str:
        """The provider, as the ledger names it."""
        ...

    def refund(self, order: RefundOrder) -> Fact:
        """Give the money back, once, under ``order.idempotency_key``; the refund, as a fact.

        Its ``request_key`` is ``order.key``, its ``account_id`` that of the order. Raises
        :class:`RefundRefusedError` where the provider says no, for good, and
        :class:`ProviderUnavailableError` where the answer did not come.
        """
        ...

    def find_refund(self, order: RefundOrder) -> Fact | None:
        """Tell what became of an earlier refund() of this order; None where there was none."""
        ...


class RefundRefusedError(Exception):
    """The provider does not give this money back; the message says why, in words of its own."""


@runtime_checkable
class Books(Protocol):
    """What the provider has on record: payments, refunds and disputes, as facts."""

    @property
    def name(self) -> str:
        """The provider, as the ledger names it."""
        ...

    def facts_since(self, since: datetime, until: datetime | None = None) -> Iterable[Fact]:
        """Tell all that was made from ``since`` on, before ``until``, as it stands now.

        What was made earlier and changed since need not be among it.
        """
        ...

    def facts_of(self, payment_id: str) -> Iterable[Fact]:
        """Tell of one payment, its refunds and disputes among it; nothing where there is none."""
        ...
