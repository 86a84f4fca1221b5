"""StripeCheckout: announces a top-up, and opens the page at which it is paid."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import stripe
from psycopg.pq import TransactionStatus

from pgledger.calls import Metadata
from pgledger.client import AsyncLedger, Ledger
from pgledger.payments.charging import Money, ProviderUnavailableError
from pgledger.records import Charge
from pgledger.stripe.provider import REFUSALS, StripeProvider
from pgledger.stripe.translation import word


@dataclass(frozen=True, slots=True)
class TopUp:
    """A top-up that is announced, and the ``url`` at which it is paid.

    On a repeat of its key the ``status`` tells what became of it, and once it is not PENDING any
    more there is nothing to pay: ``url`` is None. ``amount`` is credits, ``price`` money in the
    smallest unit of ``currency``.
    """

    account_id: str
    key: str
    amount: int
    price: int
    currency: str
    status: str
    url: str | None


class CheckoutUnavailableError(ProviderUnavailableError):
    """Stripe could not be asked, or did not answer: the top-up ``key`` stays announced.

    Call again with that key, and the same checkout is opened, or found.
    """

    def __init__(self, message: str, *, account_id: str, key: str) -> None:
        """Say which top-up it is about."""
        super().__init__(message)
        self.account_id = account_id
        self.key = key


class CheckoutRefusedError(Exception):
    """Stripe said no, in the word ``reason``: the top-up ``key`` is cancelled."""

    def __init__(self, reason: str, *, account_id: str, key: str) -> None:
        """Say which top-up it is about."""
        super().__init__(f"Stripe opens no checkout: {reason}")
        self.reason = reason
        self.account_id = account_id
        self.key = key


class StripeCheckout:
    """Sells credits at Stripe's checkout: the ledger knows of each before anybody can pay for it.

    Needs a ledger on a pool, or on a connection outside a transaction: what is announced must be
    committed before Stripe is asked.
    """

    def __init__(self, ledger: Ledger, provider: StripeProvider) -> None:
        """Announce to ``ledger``, and open checkouts by ``provider``."""
        self._ledger = ledger
        self._provider = provider

    def create_top_up(
        self,
        account_id: str,
        amount: int,
        *,
        price: int,
        currency: str,
        success_url: str,
        cancel_url: str | None = None,
        key: str | None = None,
        reference: str | None = None,
        metadata: Metadata | None = None,
        expires_at: datetime | None = None,
        priority: int | None = None,
        name: str | None = None,
        save_card: bool = False,
        session: Mapping[str, Any] | None = None,
    ) -> TopUp:
        """Announce ``amount`` credits for ``price``, and open the checkout at which it is paid.

        ``price`` is money in the smallest unit of ``currency``; ``name`` is what the payer reads,
        and ``save_card`` keeps the card for auto-top-ups. ``session`` holds further parameters of a
        session, as the ``stripe`` library takes them. Repeat the ``key`` (a new UUID where none is
        given) after a failure: it is announced once, and has one checkout. The rest is as in
        ``ledger.create_top_up``.

        Raises TopUpLimitError and its kin before anything is announced,
        :class:`CheckoutRefusedError` when Stripe says no (the top-up is cancelled: take another
        key), and :class:`CheckoutUnavailableError`, which carries the key, where its answer did not
        come.
        """
        money = Money(price, currency)
        _require_committing(self._ledger)
        with self._ledger.transaction() as ledger:
            charge = ledger.create_top_up(
                account_id,
                amount,
                key=_new_key() if key is None else key,
                price=money.amount,
                price_currency=money.currency,
                reference=reference,
                metadata=metadata,
                expires_at=expires_at,
                priority=priority,
            )
        if charge.status != "PENDING":
            return _top_up(charge, money, None)
        try:
            url = _open(
                self._provider,
                charge,
                success_url=success_url,
                cancel_url=cancel_url,
                name=name,
                save_card=save_card,
                session=session,
            )
        except CheckoutRefusedError as error:
            with self._ledger.transaction() as ledger:
                ledger.cancel_transaction(account_id, charge.key, reason=error.reason)
            raise
        return _top_up(charge, money, url)


class AsyncStripeCheckout:
    """As :class:`StripeCheckout`, over an AsyncLedger; Stripe is asked in a thread."""

    def __init__(self, ledger: AsyncLedger, provider: StripeProvider) -> None:
        """Announce to ``ledger``, and open checkouts by ``provider``."""
        self._ledger = ledger
        self._provider = provider

    async def create_top_up(
        self,
        account_id: str,
        amount: int,
        *,
        price: int,
        currency: str,
        success_url: str,
        cancel_url: str | None = None,
        key: str | None = None,
        reference: str | None = None,
        metadata: Metadata | None = None,
        expires_at: datetime | None = None,
        priority: int | None = None,
        name: str | None = None,
        save_card: bool = False,
        session: Mapping[str, Any] | None = None,
    ) -> TopUp:
        """Announce a top-up and open its checkout, as :meth:`StripeCheckout.create_top_up`."""
        money = Money(price, currency)
        _require_committing(self._ledger)
        async with self._ledger.transaction() as ledger:
            charge = await ledger.create_top_up(
                account_id,
                amount,
                key=_new_key() if key is None else key,
                price=money.amount,
                price_currency=money.currency,
                reference=reference,
                metadata=metadata,
                expires_at=expires_at,
                priority=priority,
            )
        if charge.status != "PENDING":
            return _top_up(charge, money, None)
        try:
            url = await asyncio.to_thread(
                _open,
                self._provider,
                charge,
                success_url=success_url,
                cancel_url=cancel_url,
                name=name,
                save_card=save_card,
                session=session,
            )
        except CheckoutRefusedError as error:
            async with self._ledger.transaction() as ledger:
                await ledger.cancel_transaction(account_id, charge.key, reason=error.reason)
            raise
        return _top_up(charge, money, url)


def _open(provider: StripeProvider, charge: Charge, **page: Any) -> str:  # noqa: ANN401 - handed on
    try:
        return provider.open_checkout(charge, **page)
    except ProviderUnavailableError as error:
        raise CheckoutUnavailableError(
            str(error), account_id=charge.account_id, key=charge.key
        ) from None
    except REFUSALS as error:
        raise CheckoutRefusedError(
            _reason(error), account_id=charge.account_id, key=charge.key
        ) from error


def _reason(error: stripe.StripeError) -> str:
    return word(error.code) or word(getattr(error, "param", None)) or "checkout_refused"


def _top_up(charge: Charge, money: Money, url: str | None) -> TopUp:
    return TopUp(
        account_id=charge.account_id,
        key=charge.key,
        amount=charge.amount,
        price=money.amount,
        currency=money.currency,
        status=charge.status,
        url=url,
    )


def _new_key() -> str:
    """Make up a key that can be given again, which one of the ledger's own cannot."""
    return str(uuid.uuid4())


def _require_committing(ledger: Ledger | AsyncLedger) -> None:
    source = ledger._source  # noqa: SLF001 - what it runs on is nobody else's business
    if (
        isinstance(source, (psycopg.Connection, psycopg.AsyncConnection))
        and source.info.transaction_status is not TransactionStatus.IDLE
    ):
        raise psycopg.ProgrammingError(
            "a checkout needs a pool, or a connection outside a transaction: "
            "the top-up must be committed before anybody can pay for it"
        )
