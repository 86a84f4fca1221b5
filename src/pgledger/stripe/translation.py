"""Stripe's events and objects as the ledger's facts. Pure: it needs no library of Stripe's.

An object is read as any version of the API shows it: an id where a whole object is expanded, too;
a payment's refunds where the charge lists them (before 2022-11-15), and where it does not; the
payment of a checkout session that has none before it is paid, or none at all. What cannot be read
is left out, never guessed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

from pgledger.payments.charging import Fact

PROVIDER = "stripe"

# Under these names the session, the payment and the refund carry what they are to the ledger.
ACCOUNT = "pgledger_account"
KEY = "pgledger_key"
CREDITS = "pgledger_credits"
ATTEMPT = "pgledger_attempt"
REFUND = "pgledger_refund"

_WORD = re.compile(r"[a-z0-9_]{1,64}")
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_YEAR_10_000 = 253_402_300_800
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")

_REFUND_STATUSES = {"succeeded": "SUCCEEDED", "failed": "FAILED", "canceled": "FAILED"}
# Where the money is decides: with the payer, as it is again in an appeal, the dispute is LOST.
_DISPUTE_STATUSES = {
    "won": "WON",
    "lost": "LOST",
    "appeal_needs_response": "LOST",
    "appeal_under_review": "LOST",
    # No money was taken by these, or a refund of ours took it, which is told by itself.
    "warning_closed": "WON",
    "prevented": "WON",
    "charge_refunded": "WON",
}
_INQUIRY = ("warning_", "prevented")
_INTENT_STATUSES = {"succeeded": "SUCCEEDED", "processing": "PROCESSING", "canceled": "FAILED"}

Object = Mapping[str, Any]


def facts_of(
    event: Object, *, on_dispute: str = "FREEZE", ignore_foreign: bool = False
) -> list[Fact]:
    """Return what an event tells; nothing where it is of no kind that concerns the ledger.

    ``on_dispute`` is the policy of a dispute that is opened: FLAG, FREEZE or DEDUCT; an inquiry of
    the bank, which takes no money, only flags. ``ignore_foreign`` leaves out payments that do not
    carry the ledger's metadata.
    """
    kind, data = event.get("type"), event.get("data")
    found = data.get("object") if isinstance(data, Mapping) else None
    if not isinstance(kind, str) or not isinstance(found, Mapping) or id_of(found) is None:
        return []
    at = moment(event.get("created"))
    if kind in _OF_DISPUTES:
        return list(dispute(found, at, on_dispute))
    read = _READERS.get(kind)
    if read is None or (ignore_foreign and kind in _WITH_METADATA and not is_ours(found)):
        return []
    return list(read(found, at))


def is_ours(found: Object) -> bool:
    """Tell whether an object carries the ledger's metadata."""
    return _metadata(found, ACCOUNT) is not None or _metadata(found, KEY) is not None


def moment(seconds: object) -> str | None:
    """Return an instant of Stripe's, in seconds of Unix time, as a fact tells it."""
    if not _is_whole(seconds) or not 0 <= seconds < _YEAR_10_000:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def payment_intent(intent: Object, at: str | None) -> Iterator[Fact]:
    """Tell of a payment as it stands; nothing of one that nobody has tried to pay."""
    status = _INTENT_STATUSES.get(intent.get("status", ""))
    if status is None and _mapping(intent, "last_payment_error"):
        status = "FAILED"
    if status is None:
        return
    yield _fact(
        "payment",
        payment_id=id_of(intent),
        status=status,
        **_whose(intent),
        paid=_whole(intent, "amount_received") if status == "SUCCEEDED" else None,
        currency=_text(intent, "currency"),
        customer=id_of(intent.get("customer")),
        reason=failure(intent) if status == "FAILED" else None,
        attempt=_number(intent, ATTEMPT),
        occurred_at=at,
    )


def failure(intent: Object) -> str:
    """Return the word for why a payment failed: never a message, which may name the payer."""
    error = _mapping(intent, "last_payment_error")
    for value in (
        error.get("decline_code"),
        error.get("code"),
        error.get("type"),
        intent.get("status") if intent.get("status") == "canceled" else None,
    ):
        if word(value):
            return str(value)
    return "failed"


def word(value: object) -> str | None:
    """Return a code of Stripe's; None of what may be a sentence."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def charge(found: Object, at: str | None) -> Iterator[Fact]:
    """Tell of a charge: that it was paid, and what of it was given back so far."""
    if found.get("captured") is not True or found.get("status") != "succeeded":
        # An authorisation that was let go: it never was money.
        return
    listed = _mapping(found, "refunds").get("data")
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, Mapping):
            yield from refund(one, at)
    captured = _whole(found, "amount_captured")
    yield _fact(
        "payment",
        payment_id=_payment_of(found) or id_of(found),
        status="SUCCEEDED",
        **_whose(found),
        paid=_whole(found, "amount") if captured is None else captured,
        currency=_text(found, "currency"),
        refunded=_whole(found, "amount_refunded"),
        customer=id_of(found.get("customer")),
        occurred_at=at,
    )


def refund(found: Object, at: str | None) -> Iterator[Fact]:
    """Tell of one refund as it stands."""
    payment_id = _payment_of(found) or id_of(found.get("charge"))
    amount = _whole(found, "amount")
    if id_of(found) is None or payment_id is None or amount is None:
        return
    yield _fact(
        "refund",
        refund_id=id_of(found),
        payment_id=payment_id,
        amount=amount,
        status=_REFUND_STATUSES.get(found.get("status") or "", "PENDING"),
        request_key=_metadata(found, REFUND),
        account_id=_metadata(found, ACCOUNT),
        occurred_at=at,
    )


def dispute(found: Object, at: str | None, policy: str) -> Iterator[Fact]:
    """Tell of one dispute as it stands."""
    payment_id = _payment_of(found) or id_of(found.get("charge"))
    amount = _whole(found, "amount")
    if payment_id is None or amount is None:
        return
    status = _text(found, "status") or ""
    yield _fact(
        "dispute",
        dispute_id=id_of(found),
        payment_id=payment_id,
        amount=amount,
        status=_DISPUTE_STATUSES.get(status, "OPEN"),
        policy="FLAG" if status.startswith(_INQUIRY) else policy,
        reason=word(found.get("reason")),
        occurred_at=at,
    )


def session(found: Object, at: str | None) -> Iterator[Fact]:
    """Tell of a checkout that was completed; nothing of a subscription, or a card put on file."""
    status = "PROCESSING" if found.get("payment_status") == "unpaid" else "SUCCEEDED"
    yield from _session(found, at, status)


def _session_paid(found: Object, at: str | None) -> Iterator[Fact]:
    yield from _session(found, at, "SUCCEEDED")


def _session_failed(found: Object, at: str | None) -> Iterator[Fact]:
    yield from _session(found, at, "FAILED", "async_payment_failed")
    yield from _cancelled(found, "async_payment_failed")


def _session_expired(found: Object, _at: str | None) -> Iterator[Fact]:
    if _is_for_one_payment(found):
        yield from _cancelled(found, "checkout_expired")


def _session(
    found: Object, at: str | None, status: str, reason: str | None = None
) -> Iterator[Fact]:
    if not _is_for_one_payment(found):
        return
    yield _fact(
        "payment",
        # There is no payment where there was nothing to pay.
        payment_id=_payment_of(found) or id_of(found),
        status=status,
        **_whose(found),
        paid=_whole(found, "amount_total") if status == "SUCCEEDED" else None,
        currency=_text(found, "currency"),
        customer=id_of(found.get("customer")),
        reason=reason,
        occurred_at=at,
    )


def _cancelled(found: Object, reason: str) -> Iterator[Fact]:
    account_id, key = _metadata(found, ACCOUNT), _metadata(found, KEY)
    if account_id is not None and key is not None:
        yield _fact("cancellation", account_id=account_id, key=key, reason=reason)


def _card_check(intent: Object, _at: str | None) -> Iterator[Fact]:
    whose = _whose(intent)
    if whose["account_id"] is not None:
        yield _fact(
            "card_check",
            check_id=id_of(intent),
            **whose,
            customer=id_of(intent.get("customer")),
            payment_method=id_of(intent.get("payment_method")),
        )


def _is_for_one_payment(found: Object) -> bool:
    """Tell a purchase from a subscription, and from a card put on file."""
    return found.get("mode") == "payment"


_READERS: dict[str, Callable[[Object, str | None], Iterator[Fact]]] = {
    "checkout.session.completed": session,
    "checkout.session.async_payment_succeeded": _session_paid,
    "checkout.session.async_payment_failed": _session_failed,
    "checkout.session.expired": _session_expired,
    "payment_intent.succeeded": payment_intent,
    "payment_intent.payment_failed": payment_intent,
    "payment_intent.processing": payment_intent,
    "payment_intent.canceled": payment_intent,
    "charge.refunded": charge,
    "charge.refund.updated": refund,
    "refund.created": refund,
    "refund.updated": refund,
    "refund.failed": refund,
    "setup_intent.succeeded": _card_check,
}
# What a clerk or a bank does carries no metadata of ours, so that whose it is can only be known
# by its payment.
_WITH_METADATA = frozenset(
    kind
    for kind in _READERS
    if kind.startswith(("checkout.", "payment_intent.", "charge.refunded"))
)
_OF_DISPUTES = frozenset(
    f"charge.dispute.{what}"
    for what in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")
)
# The types of events that tell the ledger something: what to subscribe an endpoint to.
EVENT_TYPES = tuple(sorted({*_READERS, *_OF_DISPUTES}))


def _fact(record: str, **told: object) -> Fact:
    return {"record": record} | {name: value for name, value in told.items() if value is not None}


def _whose(found: Object) -> dict[str, Any]:
    return {
        "account_id": _metadata(found, ACCOUNT),
        "key": _metadata(found, KEY),
        "amount": _number(found, CREDITS) or None,
    }


def _payment_of(found: Object) -> str | None:
    return id_of(found.get("payment_intent"))


def id_of(value: object) -> str | None:
    """Return an id, given as itself or as the object that was expanded in its place."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return value if _is_text(value) else None


def _metadata(found: Object, name: str) -> str | None:
    return _text(_mapping(found, "metadata"), name)


def _number(found: Object, name: str) -> int | None:
    text = _metadata(found, name) or ""
    return int(text) if _NUMBER.fullmatch(text) else None


def _text(found: Object, name: str) -> str | None:
    value = found.get(name)
    return value if _is_text(value) else None


def _is_text(value: object) -> TypeGuard[str]:
    """Tell text that a database can hold from nothing, and from halves of characters and NUL."""
    return isinstance(value, str) and value != "" and not _UNWRITABLE.search(value)


def _is_whole(value: object) -> TypeGuard[int]:
    """Tell a JSON integer from true, which Python calls one as well."""
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(found: Object, name: str) -> int | None:
    value = found.get(name)
    return value if _is_whole(value) else None


def _mapping(found: Object, name: str) -> Object:
    value = found.get(name)
    return value if isinstance(value, Mapping) else {}
