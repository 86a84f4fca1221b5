"""StripeWebhook: what Stripe sends, verified, recorded and applied in one transaction."""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
import stripe

from pgledger.client import AsyncLedger, Ledger
from pgledger.errors import LedgerError
from pgledger.payments.charging import Fact
from pgledger.records import PaymentEvent, StoredPaymentEvent
from pgledger.stripe.translation import PROVIDER, facts_of, moment

# What an endpoint answers: the HTTP status, and an object without anything of the payload.
Response = tuple[int, dict[str, Any]]

# Stripe's events are far below it; it is here against what is not Stripe's.
LARGEST_BODY = 2**20
_LONGEST_SIGNATURE = 4096

_log = logging.getLogger(__name__)


class WebhookRefusedError(ValueError):
    """What came is not an event that Stripe signed, lately, for this endpoint: nothing was done.

    The message says why, and holds nothing of what came.
    """


@dataclass(frozen=True, slots=True)
class _Received:
    event_id: str
    type: str
    payload: str
    occurred_at: datetime | None
    facts: list[Fact]


class _Reader:
    """What does not depend on how the ledger is called."""

    def __init__(
        self,
        secret: str | Iterable[str],
        tolerance: float,
        on_dispute: str,
        *,
        test_mode: bool,
        ignore_foreign: bool,
    ) -> None:
        self._secrets = (secret,) if isinstance(secret, str) else tuple(secret)
        if not self._secrets or not all(one.strip() for one in self._secrets):
            raise ValueError("secret: the signing secret of the endpoint, whsec_...")
        if not 0 < tolerance < float("inf"):
            raise ValueError("tolerance: seconds above 0, for the timestamp is always checked")
        if on_dispute not in {"FLAG", "FREEZE", "DEDUCT"}:
            raise ValueError("on_dispute: FLAG, FREEZE or DEDUCT")
        self._tolerance = tolerance
        self._on_dispute = on_dispute
        self._test_mode = test_mode
        self._ignore_foreign = ignore_foreign

    def read(self, body: bytes, signature: str | None) -> _Received:
        """Return what a signed body says; WebhookRefusedError where it is to be refused."""
        try:
            payload = body.decode()
        except UnicodeDecodeError:
            raise WebhookRefusedError("the body is not UTF-8") from None
        self._verify(payload, signature)
        try:
            event = json.loads(payload)
        except (ValueError, RecursionError):
            raise WebhookRefusedError("the body is not JSON") from None
        if not isinstance(event, dict):
            raise WebhookRefusedError("the body is not an event")
        event_id, kind = event.get("id"), event.get("type")
        if not (isinstance(event_id, str) and isinstance(kind, str)):
            raise WebhookRefusedError("the body is not an event")
        if event.get("livemode") is not (not self._test_mode):
            raise WebhookRefusedError(
                "an event of live mode, and this endpoint is for test mode"
                if self._test_mode
                else "an event of test mode, and this endpoint is for live mode"
            )
        at = moment(event.get("created"))
        return _Received(
            event_id=event_id,
            type=kind,
            payload=payload,
            occurred_at=None if at is None else datetime.fromisoformat(at),
            facts=self.facts(event),
        )

    def stored(self, event: StoredPaymentEvent | None) -> list[Fact]:
        """Return the facts of an event that was verified when it came."""
        return [] if event is None else self.facts(json.loads(event.payload))

    def facts(self, event: Mapping[str, Any]) -> list[Fact]:
        return facts_of(event, on_dispute=self._on_dispute, ignore_foreign=self._ignore_foreign)

    def _verify(self, payload: str, signature: str | None) -> None:
        if not signature or len(signature) > _LONGEST_SIGNATURE or not signature.isascii():
            raise WebhookRefusedError("the header Stripe-Signature is missing or is none")
        if not any(self._is_signed(payload, signature, secret) for secret in self._secrets):
            raise WebhookRefusedError("the signature does not match, or is too old")
        # The library looks only for what is too old. What is signed for later could be sent again
        # until then; where it is no attack, a clock is wrong.
        at = next(item[2:] for item in signature.split(",") if item.startswith("t="))
        if int(at) > time.time() + self._tolerance:
            raise WebhookRefusedError("the signature is of the future: is the clock right?")

    def _is_signed(self, payload: str, signature: str, secret: str) -> bool:
        try:
            stripe.WebhookSignature.verify_header(payload, signature, secret, self._tolerance)
        except stripe.SignatureVerificationError:
            return False
        return True


class StripeWebhook:
    """Takes what Stripe sends: each event has its effect once, however often and late it comes.

    ``secret`` is the endpoint's signing secret, or several of them while it is rotated. Signature
    and timestamp (within ``tolerance`` seconds) are always checked. ``test_mode`` takes events of
    test mode, and those only. ``on_dispute`` says what an opened dispute does to its account: FLAG,
    FREEZE or DEDUCT. ``ignore_foreign`` leaves out payments that were not made for the ledger,
    where others are made in the same Stripe account; else they are kept as unmatched.
    """

    def __init__(
        self,
        ledger: Ledger,
        secret: str | Iterable[str],
        *,
        tolerance: float = 300,
        on_dispute: str = "FREEZE",
        test_mode: bool = False,
        ignore_foreign: bool = False,
    ) -> None:
        """Verify by ``secret``, and tell ``ledger``, which is best one on a pool."""
        self._ledger = ledger
        self._reader = _Reader(
            secret, tolerance, on_dispute, test_mode=test_mode, ignore_foreign=ignore_foreign
        )

    def handle(self, body: bytes, signature: str | None) -> PaymentEvent:
        """Record and apply an event: the raw body, and the header ``Stripe-Signature``.

        Commits the event and its effect together. A duplicate changes nothing, and is answered as
        the event stands, with ``is_new`` False. An event that could not be applied is FAILED, with
        its error; it is tried again when it comes again, and by process(). Raises
        :class:`WebhookRefusedError`, and psycopg's errors where the database is away.
        """
        return self._apply(self._reader.read(body, signature))

    def process(self, event_id: str) -> PaymentEvent:
        """Apply an event from its stored payload, such as one that FAILED.

        Raises TransactionNotFoundError for an event that never came.
        """

        def work(ledger: Ledger) -> PaymentEvent:
            facts = self._reader.stored(ledger.get_payment_event(PROVIDER, event_id))
            return ledger.process_payment_event(PROVIDER, event_id, facts)

        return self._ledger.transact(work)

    def respond(self, body: bytes, signature: str | None) -> Response:
        """Handle an event and return the HTTP status and the JSON object to answer with.

        200 where it is done, or was; 400 and 413 where it is refused; 500 where it FAILED and 503
        where the database is away, upon which Stripe sends it again.
        """
        if len(body) > LARGEST_BODY:
            return too_large()
        try:
            received = self._reader.read(body, signature)
            return _answer(self._apply(received))
        except WebhookRefusedError as error:
            return _refused(error)
        except (psycopg.Error, LedgerError) as error:
            return _broken(error)

    def _apply(self, received: _Received) -> PaymentEvent:
        def work(ledger: Ledger) -> PaymentEvent:
            known = ledger.record_payment_event(
                PROVIDER,
                received.event_id,
                received.type,
                received.payload,
                occurred_at=received.occurred_at,
            )
            if _is_done(known):
                return known
            done = ledger.process_payment_event(PROVIDER, received.event_id, received.facts)
            return replace(done, is_new=known.is_new)

        return self._ledger.transact(work)


class AsyncStripeWebhook:
    """As :class:`StripeWebhook`, over an AsyncLedger; its methods are awaited."""

    def __init__(
        self,
        ledger: AsyncLedger,
        secret: str | Iterable[str],
        *,
        tolerance: float = 300,
        on_dispute: str = "FREEZE",
        test_mode: bool = False,
        ignore_foreign: bool = False,
    ) -> None:
        """Verify by ``secret``, and tell ``ledger``, which is best one on a pool."""
        self._ledger = ledger
        self._reader = _Reader(
            secret, tolerance, on_dispute, test_mode=test_mode, ignore_foreign=ignore_foreign
        )

    async def handle(self, body: bytes, signature: str | None) -> PaymentEvent:
        """Record and apply an event, as :meth:`StripeWebhook.handle`."""
        return await self._apply(self._reader.read(body, signature))

    async def process(self, event_id: str) -> PaymentEvent:
        """Apply an event from its stored payload, as :meth:`StripeWebhook.process`."""

        async def work(ledger: AsyncLedger) -> PaymentEvent:
            facts = self._reader.stored(await ledger.get_payment_event(PROVIDER, event_id))
            return await ledger.process_payment_event(PROVIDER, event_id, facts)

        return await self._ledger.transact(work)

    async def respond(self, body: bytes, signature: str | None) -> Response:
        """Handle an event and return what to answer with, as :meth:`StripeWebhook.respond`."""
        if len(body) > LARGEST_BODY:
            return too_large()
        try:
            received = self._reader.read(body, signature)
            return _answer(await self._apply(received))
        except WebhookRefusedError as error:
            return _refused(error)
        except (psycopg.Error, LedgerError) as error:
            return _broken(error)

    async def _apply(self, received: _Received) -> PaymentEvent:
        async def work(ledger: AsyncLedger) -> PaymentEvent:
            known = await ledger.record_payment_event(
                PROVIDER,
                received.event_id,
                received.type,
                received.payload,
                occurred_at=received.occurred_at,
            )
            if _is_done(known):
                return known
            done = await ledger.process_payment_event(PROVIDER, received.event_id, received.facts)
            return replace(done, is_new=known.is_new)

        return await self._ledger.transact(work)


def _is_done(event: PaymentEvent) -> bool:
    """Spare a duplicate the second call: the answer would be the same."""
    return event.status in {"PROCESSED", "IGNORED"}


def too_large() -> Response:
    """Return what to answer to a body above LARGEST_BODY."""
    return 413, {"error": "the body is too large"}


def _answer(event: PaymentEvent) -> Response:
    answer = {"id": event.event_id, "status": event.status, "duplicate": not event.is_new}
    if _is_done(event):
        return 200, answer
    _log.error("%s %s failed: %s", event.type, event.event_id, event.error)
    return 500, answer


def _refused(error: WebhookRefusedError) -> Response:
    _log.warning("refused: %s", error)
    return 400, {"error": str(error)}


def _broken(error: psycopg.Error | LedgerError) -> Response:
    # Nothing but the kind of the error: its text may quote the row, and the payload is in it.
    _log.error("not processed: %s, SQLSTATE %s", type(error).__name__, error.sqlstate)
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return 503, {"error": "the database is not available"}
    return 500, {"error": "the event could not be processed"}
