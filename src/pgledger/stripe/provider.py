"""StripeProvider: charges, refunds, checkouts and listings, by Stripe's own client."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import stripe

from pgledger.payments.charging import (
    Charged,
    Declined,
    Fact,
    Money,
    Outcome,
    Processing,
    ProviderUnavailableError,
    RefundOrder,
    RefundRefusedError,
)
from pgledger.records import Charge
from pgledger.stripe import translation
from pgledger.stripe.translation import (
    ACCOUNT,
    ATTEMPT,
    CREDITS,
    KEY,
    PROVIDER,
    REFUND,
    Object,
    id_of,
)

# Of a request that failed so it is known that nothing was done.
REFUSALS = (
    stripe.InvalidRequestError,
    stripe.CardError,
    stripe.AuthenticationError,
    stripe.PermissionError,
)

# How far the clocks of the database and of Stripe may be apart.
_SKEW = timedelta(minutes=10)
_PAGE = 100
_LONGEST_REFERENCE = 200
# The codes of a refund that may be possible later, when there is money again.
_POSSIBLE_LATER = {"balance_insufficient", "insufficient_funds", "lock_timeout"}


class StripeProvider:
    """A Charger, a Refunder and the Books of the ledger's workers, and what opens checkouts.

    Takes a secret key, or a ``stripe.StripeClient`` of your own making, whose retries and timeouts
    are yours to set. ``test_mode`` takes a key of test mode, and refuses a live one; without it,
    the other way round. ``on_dispute`` and ``ignore_foreign`` are those of the webhook.
    """

    name = PROVIDER

    def __init__(
        self,
        client: stripe.StripeClient | str,
        *,
        test_mode: bool = False,
        on_dispute: str = "FREEZE",
        ignore_foreign: bool = False,
    ) -> None:
        """Ask Stripe through ``client``."""
        if isinstance(client, str):
            client = stripe.StripeClient(client)
        _require_key(client, test_mode=test_mode)
        self._api = client.v1
        self._test_mode = test_mode
        self._on_dispute = on_dispute
        self._ignore_foreign = ignore_foreign

    def charge(self, charge: Charge, money: Money) -> Outcome:
        """Charge the card that is on file, off-session; once, however often it is asked."""
        if charge.customer is None:
            return Declined("no_customer", permanent=True)
        card = charge.payment_method or self._card_of(charge.customer)
        if card is None:
            return Declined("no_payment_method", permanent=True)
        params: Any = {
            "amount": money.amount,
            "currency": money.currency,
            "customer": charge.customer,
            "payment_method": card,
            "confirm": True,
            "off_session": True,
            # Nobody is there to be sent anywhere.
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "metadata": _metadata(charge) | {ATTEMPT: str(charge.attempt)},
        }
        options: Any = {"idempotency_key": charge.idempotency_key}
        try:
            intent, _ = self._ask(lambda: self._api.payment_intents.create(params, options))
        except stripe.CardError as error:
            return Declined(_word_of(error), _payment_of(error))
        except stripe.IdempotencyError as error:
            # It was asked before, of another card or at another price: that one is what counts.
            found = self._search(charge, None)
            if found is None:
                raise ProviderUnavailableError(_words(error)) from None
            return found
        except stripe.InvalidRequestError as error:
            if not _is_about_the_card(error):
                raise
            return Declined(error.code or "invalid_payment_method")
        return _outcome(intent)

    def find(self, charge: Charge) -> Outcome | None:
        """Look for an earlier charge of this attempt among the payments of the customer.

        Among all payments since the intent, where the account has no customer any more. A charge of
        an earlier attempt counts where it took money after all.
        """
        return self._search(charge, charge.customer)

    def refund(self, order: RefundOrder) -> Fact:
        """Give the money back, once, however often it is asked."""
        params: Any = {
            **_of_payment(order.payment_id),
            "amount": order.money.amount,
            "metadata": {ACCOUNT: order.account_id, REFUND: order.key},
        }
        options: Any = {"idempotency_key": order.idempotency_key}
        try:
            made, _ = self._ask(lambda: self._api.refunds.create(params, options))
        except stripe.IdempotencyError as error:
            found = self.find_refund(order)
            if found is None:
                raise ProviderUnavailableError(_words(error)) from None
            return found
        except (stripe.InvalidRequestError, stripe.CardError) as error:
            if error.code in _POSSIBLE_LATER:
                raise ProviderUnavailableError(_words(error)) from None
            raise RefundRefusedError(error.code or "refused") from None
        # The answer to a repeat is that of the first time: it stood so when the refund was made.
        (fact,) = translation.refund(made, translation.moment(made.get("created")))
        return fact

    def find_refund(self, order: RefundOrder) -> Fact | None:
        """Look for an earlier refund of this order among the refunds of the payment."""
        for fact in self._refunds(_of_payment(order.payment_id)):
            if (fact.get("account_id"), fact.get("request_key")) == (order.account_id, order.key):
                return fact
        return None

    def facts_since(self, since: datetime, until: datetime | None = None) -> Iterator[Fact]:
        """Tell all payments, refunds and disputes made from ``since`` on, before ``until``."""
        if since.tzinfo is None or (until is not None and until.tzinfo is None):
            raise ValueError("since, until: instants with a time zone")
        # Stripe's times are whole seconds: the first one and the last one belong to it.
        created = {"gte": math.floor(since.timestamp())}
        if until is not None:
            created["lt"] = math.ceil(until.timestamp())
        params = {"created": created}
        with_charge = params | {"expand": ["data.latest_charge"]}
        for intent, at in self._list(self._api.payment_intents.list, with_charge):
            yield from self._payment(intent, at)
        for session, at in self._list(self._api.checkout.sessions.list, params):
            yield from self._free(session, at)
        yield from self._refunds(params)
        yield from self._disputes(params)

    def facts_of(self, payment_id: str) -> Iterator[Fact]:
        """Tell of one payment, its refunds and disputes among it."""
        try:
            if payment_id.startswith("cs_"):
                found, at = self._ask(lambda: self._api.checkout.sessions.retrieve(payment_id))
                yield from self._free(found, at)
                return
            if payment_id.startswith("ch_"):
                found, at = self._ask(lambda: self._api.charges.retrieve(payment_id))
                yield from translation.charge(found, at)
            else:
                found, at = self._ask(
                    lambda: self._api.payment_intents.retrieve(
                        payment_id, {"expand": ["latest_charge"]}
                    )
                )
                yield from self._payment(found, at)
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise
            return
        yield from self._refunds(_of_payment(payment_id))
        yield from self._disputes(_of_payment(payment_id))

    def open_checkout(
        self,
        charge: Charge,
        *,
        success_url: str,
        cancel_url: str | None = None,
        name: str | None = None,
        save_card: bool = False,
        session: Mapping[str, Any] | None = None,
    ) -> str:
        """Open the checkout session of an announced top-up, and return its URL.

        ``session`` is what else the session is to be made with. A repeat returns the same one for
        as long as it is open. Raises :class:`ProviderUnavailableError` where the answer did not
        come, and stripe's errors where it was a no (``REFUSALS``).
        """
        params: Any = _merged(_session_of(charge, name), session or {})
        params["success_url"] = success_url
        if cancel_url is not None:
            params["cancel_url"] = cancel_url
        if save_card:
            params["payment_intent_data"]["setup_future_usage"] = "off_session"
        options: Any = {"idempotency_key": charge.idempotency_key}
        made: Object
        try:
            made, _ = self._ask(lambda: self._api.checkout.sessions.create(params, options))
        except stripe.IdempotencyError as error:
            # It was made before, with other words, such as another page to come back to.
            found = self._open_session(charge)
            if found is None:
                raise ProviderUnavailableError(_words(error)) from None
            made = found
        return str(made["url"])

    def _card_of(self, customer_id: str) -> str | None:
        """Return the card that a customer pays with: the default one, or else the latest."""
        try:
            customer, _ = self._ask(lambda: self._api.customers.retrieve(customer_id))
            if customer.get("deleted"):
                return None
            settings = customer.get("invoice_settings") or {}
            default = id_of(settings.get("default_payment_method"))
            if default is not None:
                return default
            cards, _ = self._ask(
                lambda: self._api.customers.payment_methods.list(customer_id, {"limit": 1})
            )
        except stripe.InvalidRequestError as error:
            if error.code != "resource_missing":
                raise
            return None
        return next((id_of(card) for card in cards["data"]), None)

    def _search(self, charge: Charge, customer: str | None) -> Outcome | None:
        params: dict[str, Any] = _since(charge)
        if customer is not None:
            params["customer"] = customer
        best: Outcome | None = None
        for intent, _ in self._list(self._api.payment_intents.list, params):
            if not _is_for(charge, intent):
                continue
            outcome = _outcome(intent)
            if isinstance(outcome, Charged):
                return outcome
            attempt = intent["metadata"].get(ATTEMPT)
            if isinstance(outcome, Processing) or (best is None and attempt == str(charge.attempt)):
                best = outcome
        return best

    def _open_session(self, charge: Charge) -> Object | None:
        sessions = self._list(self._api.checkout.sessions.list, _since(charge))
        for session, _ in sessions:
            if session.get("status") == "open" and _is_for(charge, session):
                return session
        return None

    def _payment(self, intent: Object, at: str) -> Iterator[Fact]:
        if self._is_ignored(intent):
            return
        charge = intent.get("latest_charge")
        refunded = charge.get("amount_refunded") if isinstance(charge, Mapping) else None
        for fact in translation.payment_intent(intent, at):
            yield fact if fact["status"] != "SUCCEEDED" else {**fact, "refunded": refunded or 0}

    def _free(self, session: Object, at: str) -> Iterator[Fact]:
        """Tell of a session what no payment tells: that there was nothing to pay."""
        if session.get("payment_status") == "no_payment_required" and not self._is_ignored(session):
            yield from translation.session(session, at)

    def _refunds(self, params: dict[str, Any]) -> Iterator[Fact]:
        for refund, at in self._list(self._api.refunds.list, params):
            yield from translation.refund(refund, at)

    def _disputes(self, params: dict[str, Any]) -> Iterator[Fact]:
        for dispute, at in self._list(self._api.disputes.list, params):
            yield from translation.dispute(dispute, at, self._on_dispute)

    def _is_ignored(self, found: Object) -> bool:
        return self._ignore_foreign and not translation.is_ours(found)

    def _list(
        self, ask: Callable[[Any], stripe.StripeObject], params: Mapping[str, Any]
    ) -> Iterator[tuple[Object, str]]:
        """Yield the objects of a list, page by page, each with the instant it stood so."""
        after: dict[str, Any] = {}
        while True:
            page, at = self._ask(lambda after=after: ask({**params, "limit": _PAGE, **after}))  # type: ignore[misc]
            for found in page["data"]:
                self._require_mode(found)
                yield found, at
            if not page.get("has_more"):
                return
            after = {"starting_after": page["data"][-1]["id"]}

    def _ask(self, request: Callable[[], stripe.StripeObject]) -> tuple[dict[str, Any], str]:
        """Return the answer as plain JSON, and by Stripe's own clock when it stood so."""
        with _asking():
            answer = request().last_response
        if answer is None or not isinstance(answer.data, dict):
            raise ProviderUnavailableError("an answer without an object")
        self._require_mode(answer.data)
        at = parsedate_to_datetime(answer.headers["Date"]) if "Date" in answer.headers else None
        return answer.data, (at or datetime.now(UTC)).isoformat()

    def _require_mode(self, found: Object) -> None:
        """Take nothing for money that is none. Lists and refunds have no mode of their own."""
        if found.get("livemode", not self._test_mode) is self._test_mode:
            raise ValueError(
                "Stripe answers in live mode, and this provider is for test mode"
                if self._test_mode
                else "Stripe answers in test mode, and this provider is for live mode"
            )


@contextmanager
def _asking() -> Iterator[None]:
    """Tell an answer that did not come from one that was a no."""
    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError) as error:
        raise ProviderUnavailableError(_words(error)) from None


def _words(error: stripe.StripeError) -> str:
    """Say what happened without what was sent or answered: that may name the payer."""
    return f"{type(error).__name__}, HTTP status {error.http_status}"


def _require_key(client: stripe.StripeClient, *, test_mode: bool) -> None:
    # The client has no public name for it; what Stripe answers is looked at as well.
    key = getattr(getattr(client, "_requestor", None), "api_key", None) or ""
    if test_mode and key.startswith(("sk_live_", "rk_live_")):
        raise ValueError("a live key, and this provider is for test mode")
    if not test_mode and key.startswith(("sk_test_", "rk_test_")):
        raise ValueError("a key of test mode: give test_mode=True where that is meant")


def _outcome(intent: Object) -> Outcome:
    payment_id, status = str(intent["id"]), intent.get("status")
    if status == "succeeded":
        return Charged(
            payment_id=payment_id,
            paid=int(intent["amount_received"]),
            currency=str(intent["currency"]),
            customer=id_of(intent.get("customer")),
        )
    if status in {"processing", "requires_capture"}:
        return Processing(payment_id, str(status))
    if status in {"requires_action", "requires_confirmation"}:
        return Declined("authentication_required", payment_id)
    return Declined(translation.failure(intent), payment_id)


def _word_of(error: stripe.CardError) -> str:
    return translation.failure({"last_payment_error": _error_of(error)})


def _payment_of(error: stripe.CardError) -> str | None:
    return id_of(_error_of(error).get("payment_intent"))


def _error_of(error: stripe.CardError) -> Object:
    body = error.json_body
    found = body.get("error") if isinstance(body, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _is_about_the_card(error: stripe.InvalidRequestError) -> bool:
    """Tell a card that cannot be charged any more from a request that is wrong."""
    return error.param in {"payment_method", "customer"} or (error.code or "").startswith(
        "payment_method"
    )


def _metadata(charge: Charge) -> dict[str, str]:
    return {ACCOUNT: charge.account_id, KEY: charge.key, CREDITS: str(charge.amount)}


def _is_for(charge: Charge, found: Object) -> bool:
    metadata = found.get("metadata") or {}
    return bool(metadata.get(ACCOUNT) == charge.account_id and metadata.get(KEY) == charge.key)


def _since(charge: Charge) -> dict[str, Any]:
    return {"created": {"gte": math.floor((charge.created_at - _SKEW).timestamp())}}


def _of_payment(payment_id: str) -> dict[str, Any]:
    return {"charge" if payment_id.startswith("ch_") else "payment_intent": payment_id}


def _merged(ours: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Add what the caller gives, to objects as well: the ledger's metadata stays."""
    merged = {**given, **ours}
    for name, value in ours.items():
        if isinstance(value, dict) and isinstance(given.get(name), Mapping):
            merged[name] = _merged(value, given[name])
    return merged


def _session_of(charge: Charge, name: str | None) -> dict[str, Any]:
    metadata = _metadata(charge)
    params: dict[str, Any] = {
        "mode": "payment",
        "line_items": [
            {
                "price_data": {
                    "currency": charge.price_currency,
                    "unit_amount": charge.price,
                    "product_data": {"name": name or f"{charge.amount} credits"},
                },
                "quantity": 1,
            }
        ],
        "metadata": metadata,
        "payment_intent_data": {"metadata": metadata},
    }
    if len(charge.key) <= _LONGEST_REFERENCE:
        params["client_reference_id"] = charge.key
    if charge.customer is not None:
        params["customer"] = charge.customer
    else:
        params["customer_creation"] = "always"
    return params
