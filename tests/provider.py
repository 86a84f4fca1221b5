"""A payment provider for tests: a real HTTP server that speaks the part of Stripe's API we use.

It holds to what the real one does where money depends on it: an idempotency key has one outcome,
declines included, is refused with other parameters and while the first request runs, and may be
forgotten; a reply can be lost after the charge. It keeps a book of what it charged and gave back,
and of what it would tell by webhook, for a test to deliver as badly as it likes (tests/postman.py).
"""

import copy
import json
import re
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import stripe

from tests.provider_http import Answer, Json, Refusal, Request, serving

# What may go wrong with a request, as told by next() or the function `trouble`:
# down: refused before anything is done (503), the key not used; limit: the same, with 429;
# wrong, poor: the same, with a 400 that tells of a bad parameter, or of too little balance;
# drop: done, and the reply lost; error: done, answered and kept under its key as a 500.
Trouble = str | None

_PAYMENT_INTENT = frozenset(
    {
        "amount",
        "currency",
        "customer",
        "payment_method",
        "confirm",
        "off_session",
        "metadata",
        "expand",
        "description",
        "automatic_payment_methods",
        "payment_method_types",
        "error_on_requires_action",
    }
)
_SESSION = frozenset(
    {
        "mode",
        "line_items",
        "success_url",
        "cancel_url",
        "client_reference_id",
        "customer",
        "customer_creation",
        "customer_email",
        "metadata",
        "payment_intent_data",
        "expires_at",
        "expand",
        "locale",
        "payment_method_types",
        "allow_promotion_codes",
        "automatic_tax",
        "invoice_creation",
        "setup_intent_data",
        "currency",
    }
)
_REFUND = frozenset({"payment_intent", "charge", "amount", "metadata", "reason", "expand"})
_LIST = frozenset({"limit", "starting_after", "ending_before", "created", "expand"})


class FakeProvider:
    """The provider: ``with FakeProvider() as provider``; ``provider.client()`` talks to it."""

    def __init__(self, *, livemode: bool = False, old: bool = False) -> None:
        """``old``: objects and events in the shape of the API before 2022-11-15."""
        self.livemode = livemode
        self.secret = "whsec_of_the_tests"  # noqa: S105 - one of no account
        self.old = old
        self.url = ""
        self.api_key = f"sk_{'live' if livemode else 'test'}_of_the_tests"
        self.objects: dict[str, Json] = {}
        self.events: list[Json] = []
        self.requests: list[Request] = []
        self.trouble: Callable[[Request], Trouble] | None = None
        self.listener: Callable[[Json], None] | None = None
        self._next: deque[Trouble] = deque()
        self._replies: dict[str, tuple[object, Answer | None]] = {}
        self._lock = threading.RLock()
        self._gate = threading.Event()
        self._gate.set()
        self._arrived = threading.Semaphore(0)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.url = self._running.enter_context(serving(self._answer))
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.set()
        self._running.close()

    def client(self, *, retries: int = 0, api_key: str | None = None) -> stripe.StripeClient:
        """Return the official client, pointed here; it does not try again unless told to."""
        return stripe.StripeClient(
            api_key or self.api_key,
            base_addresses={"api": self.url},
            max_network_retries=retries,
        )

    # What a test does in the place of payers, banks and clerks.

    def customer(self, behaviour: str | None = "succeeds", **metadata: str) -> str:
        """Make a customer and a card of the given behaviour (None: no card) and return its id.

        Behaviours: succeeds, processing, authentication_required, or a decline code such as
        insufficient_funds.
        """
        with self._lock:
            found = self._make("customer", "cus", metadata=metadata)
            found["invoice_settings"] = {"default_payment_method": None}
            if behaviour:
                card = self.card(found["id"], behaviour)
                found["invoice_settings"]["default_payment_method"] = card
            return str(found["id"])

    def card(self, customer: str | None, behaviour: str = "succeeds") -> str:
        """Make a card, on file with the customer, and return its id."""
        with self._lock:
            card = self._make("payment_method", "pm", customer=customer, type="card")
            card["behaviour"] = behaviour
            return str(card["id"])

    def pay(
        self, session_id: str, behaviour: str = "succeeds", *, customer: str | None = None
    ) -> str:
        """Pay a checkout session and return the id of the payment; a decline leaves it open."""
        with self._lock:
            session = self.objects[session_id]
            assert session["status"] == "open", "only an open session can be paid"
            session["customer"] = customer or session["customer"]
            if session["amount_total"] == 0:
                self._complete(session, "no_payment_required")
                return session_id
            data = session["payment_intent_data"]
            intent = (
                self.objects[session["_payment_intent"]]
                if session["_payment_intent"]
                else self._payment_intent(
                    amount=session["amount_total"],
                    currency=session["currency"],
                    customer=session["customer"],
                    metadata=data.get("metadata", {}),
                )
            )
            session["_payment_intent"] = intent["id"]
            intent["customer"] = session["customer"]
            intent["payment_method"] = self.card(session["customer"], behaviour)
            self._confirm(intent)
            if intent["status"] == "succeeded":
                self._complete(session, "paid")
            elif intent["status"] == "processing":
                self._complete(session, "unpaid")
            return str(intent["id"])

    def set_up(self, customer: str, **metadata: str) -> str:
        """Let the customer put a card on file, and return the id of the setup intent."""
        with self._lock:
            intent = self._make(
                "setup_intent",
                "seti",
                customer=customer,
                payment_method=self.card(customer),
                status="succeeded",
                usage="off_session",
                metadata=metadata,
            )
            self._tell("setup_intent.succeeded", intent)
            return str(intent["id"])

    def settle(self, payment_id: str, *, succeeds: bool = True) -> None:
        """End the processing of a payment."""
        with self._lock:
            intent = self.objects[payment_id]
            assert intent["status"] == "processing"
            session = next(
                (s for s in self._all("checkout.session") if s["_payment_intent"] == payment_id),
                None,
            )
            if succeeds:
                self._succeed(intent)
                if session:
                    session["payment_status"] = "paid"
                    self._tell("checkout.session.async_payment_succeeded", session)
            else:
                self._decline(intent, "debit_not_authorized")
                if session:
                    self._tell("checkout.session.async_payment_failed", session)

    def expire(self, session_id: str) -> None:
        """Let the time to pay run out."""
        with self._lock:
            session = self.objects[session_id]
            session["status"] = "expired"
            if session["_payment_intent"]:
                intent = self.objects[session["_payment_intent"]]
                intent |= {"status": "canceled", "cancellation_reason": "automatic"}
                self._tell("payment_intent.canceled", intent)
            self._tell("checkout.session.expired", session)

    def refund(
        self,
        payment_id: str,
        amount: int | None = None,
        *,
        status: str = "succeeded",
        metadata: dict[str, str] | None = None,
    ) -> str:
        """Give money back, as a clerk at the provider's dashboard does; return the refund's id."""
        with self._lock:
            intent = self.objects[payment_id]
            charge = self.objects[intent["latest_charge"]]
            left = charge["amount"] - charge["amount_refunded"]
            amount = left if amount is None else amount
            if not 0 < amount <= left:
                raise Refusal(400, "invalid_request_error", code="charge_already_refunded")
            refund = self._make(
                "refund",
                "re",
                amount=amount,
                currency=charge["currency"],
                charge=charge["id"],
                payment_intent=payment_id,
                status=status,
                metadata=metadata or {},
                reason=None,
            )
            charge["amount_refunded"] += amount
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
            if not self.old:
                self._tell("refund.created", refund)
            self._tell("charge.refunded", charge)
            return str(refund["id"])

    def update_refund(self, refund_id: str, status: str) -> None:
        """Tell what became of a refund: succeeded, failed or canceled."""
        with self._lock:
            refund = self.objects[refund_id]
            refund["status"] = status
            if status in {"failed", "canceled"}:
                charge = self.objects[refund["charge"]]
                charge["amount_refunded"] -= refund["amount"]
                charge["refunded"] = False
                if not self.old and status == "failed":
                    self._tell("refund.failed", refund)
            self._tell("charge.refund.updated", refund)
            if not self.old:
                self._tell("refund.updated", refund)

    def dispute(
        self,
        payment_id: str,
        amount: int | None = None,
        *,
        reason: str = "fraudulent",
        status: str = "needs_response",
    ) -> str:
        """Let the payer dispute a payment at the bank, and return the id of the dispute."""
        with self._lock:
            intent = self.objects[payment_id]
            dispute = self._make(
                "dispute",
                "dp",
                amount=intent["amount"] if amount is None else amount,
                currency=intent["currency"],
                charge=intent["latest_charge"],
                payment_intent=payment_id,
                reason=reason,
                status=status,
                metadata={},
            )
            self._tell("charge.dispute.created", dispute)
            if not status.startswith("warning"):
                self._tell("charge.dispute.funds_withdrawn", dispute)
            return str(dispute["id"])

    def update_dispute(self, dispute_id: str, status: str) -> None:
        """Tell what became of a dispute: won, lost, under_review, warning_closed ..."""
        with self._lock:
            dispute = self.objects[dispute_id]
            dispute["status"] = status
            closed = status in {"won", "lost", "warning_closed"}
            self._tell(f"charge.dispute.{'closed' if closed else 'updated'}", dispute)
            if status == "won":
                self._tell("charge.dispute.funds_reinstated", dispute)

    # What a test wants to go wrong.

    def next(self, *troubles: Trouble) -> None:
        """Let the next writing requests meet these troubles, one each; None: none."""
        self._next.extend(troubles)

    def forget_keys(self) -> None:
        """Forget the idempotency keys, as the real one may after a day."""
        with self._lock:
            self._replies.clear()

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Hold writing requests before they are carried out; yields a wait for one to arrive."""
        self._gate.clear()

        def arrived() -> None:
            assert self._arrived.acquire(timeout=20), "no request came"

        try:
            yield arrived
        finally:
            self._gate.set()

    # What a test looks at.

    def session(self, session_id: str) -> Json:
        """Return a checkout session as the API shows it."""
        with self._lock:
            return self._shown(self.objects[session_id])

    def succeeded(self) -> list[Json]:
        """Return the payments that took money, oldest first."""
        with self._lock:
            found = [p for p in self._all("payment_intent") if p["status"] == "succeeded"]
            return [self._shown(intent) for intent in found]

    def charged(self) -> Counter[tuple[str, str]]:
        """Count how often money was taken, by account and key of the ledger."""
        found = (intent["metadata"] for intent in self.succeeded())
        return Counter((m.get("pgledger_account", ""), m.get("pgledger_key", "")) for m in found)

    def told(self, *kinds: str) -> list[Json]:
        """Return the events so far, all or those of the given types, oldest first."""
        with self._lock:
            return [e for e in self.events if not kinds or e["type"] in kinds]

    def signed(self, event: Json, *, at: int | None = None) -> tuple[bytes, str]:
        """Return an event as it is sent: the body, and the header Stripe-Signature."""
        body = json.dumps(event, indent=2)
        return body.encode(), signature(body, self.secret, at)

    # The API.

    def _answer(self, request: Request) -> Answer | None:
        with self._lock:
            self.requests.append(request)
            trouble = None
            if request.method == "POST":
                trouble = self._next.popleft() if self._next else None
                if trouble is None and self.trouble:
                    trouble = self.trouble(request)
        try:
            self._admit(request, trouble)
            answer = self._once(request, broken=trouble == "error")
        except Refusal as refusal:
            answer = Answer(refusal.status, refusal.body)
        return None if trouble == "drop" else answer

    def _admit(self, request: Request, trouble: Trouble) -> None:
        if request.authorization != f"Bearer {self.api_key}":
            raise Refusal(401, "invalid_request_error")
        if trouble == "down":
            raise Refusal(503, "api_error")
        if trouble == "wrong":
            raise Refusal(400, "invalid_request_error", code="parameter_invalid", param="amount")
        if trouble == "poor":
            raise Refusal(400, "invalid_request_error", code="balance_insufficient")
        if trouble == "limit":
            raise Refusal(429, "invalid_request_error", code="rate_limit")

    def _once(self, request: Request, *, broken: bool) -> Answer:
        """Carry a request out, or answer as the first time its idempotency key came."""
        if request.method != "POST":
            return self._carry_out(request)
        # The real one makes up a key where none is given, too.
        key = request.key or str(uuid.uuid4())
        asked = (request.path, request.given)
        with self._lock:
            if key in self._replies:
                before, reply = self._replies[key]
                if before != asked:
                    raise Refusal(400, "idempotency_error")
                if reply is None:
                    raise Refusal(409, "idempotency_error", code="idempotency_key_in_use")
                return Answer(reply.status, reply.body, (("Idempotent-Replayed", "true"),))
            self._replies[key] = (asked, None)
        self._arrived.release()
        self._gate.wait()
        try:
            with self._lock:
                answer = self._carry_out(request)
                if broken:
                    answer = Answer(500, {"error": {"type": "api_error", "message": "(fake)"}})
                self._replies[key] = (asked, answer)
                return answer
        except Refusal as refusal:
            with self._lock:
                self._replies[key] = (asked, Answer(refusal.status, refusal.body))
                if not refusal.saved:
                    del self._replies[key]
            raise

    def _carry_out(self, request: Request) -> Answer:
        for method, pattern, known, act in _ROUTES:
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                unknown = request.given.keys() - known
                if unknown:
                    raise Refusal(
                        400, "invalid_request_error", code="parameter_unknown", param=min(unknown)
                    )
                with self._lock:
                    result = act(self, request.given, *found.groups())
                    expand = request.given.get("expand", [])
                    return Answer(200, self._expanded(self._shown(result), expand))
        raise Refusal(404, "invalid_request_error", message=f"Unrecognized request URL: {request}")

    def _create_payment_intent(self, given: Json) -> Json:
        card = self.objects.get(given.get("payment_method", ""))
        if "payment_method" in given and card is None:
            raise Refusal(
                400, "invalid_request_error", code="resource_missing", param="payment_method"
            )
        if card and card["customer"] != given.get("customer"):
            raise Refusal(400, "invalid_request_error", param="payment_method")
        if given.get("confirm") == "true" and card is None:
            raise Refusal(400, "invalid_request_error", param="payment_method")
        intent = self._payment_intent(
            amount=_positive(given, "amount"),
            currency=given["currency"],
            customer=given.get("customer"),
            metadata=given.get("metadata", {}),
        )
        intent["payment_method"] = given.get("payment_method")
        if given.get("confirm") == "true":
            self._confirm(intent)
            error = intent["last_payment_error"]
            if error:
                shown = self._shown(intent)
                raise Refusal(402, "card_error", saved=True, payment_intent=shown, **error)
        return intent

    def _create_session(self, given: Json) -> Json:
        total = sum(
            int(item["price_data"]["unit_amount"]) * int(item.get("quantity", 1))
            for item in given.get("line_items", [])
        )
        metadata = given.get("metadata", {})
        for name, value in metadata.items():
            if len(name) > 40 or len(value) > 500:
                raise Refusal(400, "invalid_request_error", param=f"metadata[{name}]")
        if len(given.get("client_reference_id", "")) > 200:
            raise Refusal(400, "invalid_request_error", param="client_reference_id")
        if given["mode"] == "payment" and given["line_items"] and 0 < total < 50:
            raise Refusal(400, "invalid_request_error", code="amount_too_small")
        session = self._make(
            "checkout.session",
            "cs_live" if self.livemode else "cs_test",
            mode=given["mode"],
            status="open",
            payment_status="unpaid",
            amount_total=total,
            currency=given["line_items"][0]["price_data"]["currency"],
            client_reference_id=given.get("client_reference_id"),
            customer=given.get("customer"),
            metadata=metadata,
            payment_intent_data=given.get("payment_intent_data", {}),
            success_url=given.get("success_url"),
            cancel_url=given.get("cancel_url"),
            expires_at=int(given.get("expires_at", time.time() + 86400)),
            _payment_intent=None,
        )
        session["url"] = f"https://checkout.example/{session['id']}"
        if self.old:
            intent = self._payment_intent(
                amount=total,
                currency=session["currency"],
                customer=session["customer"],
                metadata=session["payment_intent_data"].get("metadata", {}),
            )
            session["_payment_intent"] = intent["id"]
        return session

    def _create_refund(self, given: Json) -> Json:
        intent = self.objects.get(given.get("payment_intent", ""))
        if intent is None:
            raise Refusal(404, "invalid_request_error", code="resource_missing")
        amount = _positive(given, "amount") if "amount" in given else None
        refund_id = self.refund(intent["id"], amount, metadata=given.get("metadata"))
        return self.objects[refund_id]

    def _list(self, given: Json, kind: str, path: str, owner: str | None = None) -> Json:
        found = [o for o in self._all(kind) if owner is None or o.get("customer") == owner]
        for name in ("customer", "payment_intent", "charge"):
            if name in given:
                field = "_payment_intent" if kind == "checkout.session" else name
                found = [o for o in found if o.get(field) == given[name]]
        created = given.get("created", {})
        if isinstance(created, dict):
            found = [
                o
                for o in found
                if int(created.get("gte", 0)) <= o["created"] < int(created.get("lt", 2**62))
            ]
        found.reverse()
        if "starting_after" in given:
            ids = [o["id"] for o in found]
            if given["starting_after"] not in ids:
                raise Refusal(400, "invalid_request_error", code="resource_missing")
            found = found[ids.index(given["starting_after"]) + 1 :]
        limit = int(given.get("limit", 10))
        if not 1 <= limit <= 100:
            raise Refusal(400, "invalid_request_error", param="limit")
        return {
            "object": "list",
            "url": f"/v1/{path}",
            "has_more": len(found) > limit,
            "data": [self._shown(o) for o in found[:limit]],
        }

    def _retrieve(self, _given: Json, object_id: str) -> Json:
        if object_id not in self.objects:
            raise Refusal(404, "invalid_request_error", code="resource_missing", param="id")
        return self.objects[object_id]

    def _expire_session(self, _given: Json, session_id: str) -> Json:
        if self._retrieve({}, session_id)["status"] != "open":
            raise Refusal(400, "invalid_request_error")
        self.expire(session_id)
        return self.objects[session_id]

    # What happens inside.

    def _make(self, kind: str, prefix: str, **fields: Any) -> Json:  # noqa: ANN401 - any JSON
        made: Json = {
            "id": f"{prefix}_{uuid.uuid4().hex[:24]}",
            "object": kind,
            "created": int(time.time()),
            "livemode": self.livemode,
            "metadata": {},
        }
        self.objects[made["id"]] = made | fields
        return self.objects[made["id"]]

    def _all(self, kind: str) -> list[Json]:
        return [o for o in self.objects.values() if o["object"] == kind]

    def _payment_intent(
        self, *, amount: int, currency: str, customer: str | None, metadata: Json
    ) -> Json:
        intent = self._make(
            "payment_intent",
            "pi",
            amount=amount,
            amount_received=0,
            currency=currency,
            customer=customer,
            payment_method=None,
            latest_charge=None,
            last_payment_error=None,
            status="requires_payment_method",
            metadata=dict(metadata),
        )
        self._tell("payment_intent.created", intent)
        return intent

    def _confirm(self, intent: Json) -> None:
        behaviour = self.objects[intent["payment_method"]]["behaviour"]
        if behaviour == "succeeds":
            self._succeed(intent)
        elif behaviour == "processing":
            intent |= {"status": "processing", "last_payment_error": None}
            self._charge(intent, "pending")
            self._tell("payment_intent.processing", intent)
        else:
            self._decline(intent, behaviour)

    def _charge(self, intent: Json, status: str) -> Json:
        charge = self.objects.get(intent["latest_charge"] or "")
        if charge is None or charge["status"] == "failed":
            charge = self._make(
                "charge",
                "ch",
                amount=intent["amount"],
                amount_refunded=0,
                currency=intent["currency"],
                customer=intent["customer"],
                payment_intent=intent["id"],
                refunded=False,
                metadata=dict(intent["metadata"]),
            )
        charge |= {
            "status": status,
            "paid": status == "succeeded",
            "captured": status == "succeeded",
            "amount_captured": charge["amount"] if status == "succeeded" else 0,
        }
        intent["latest_charge"] = charge["id"]
        return charge

    def _succeed(self, intent: Json) -> None:
        assert intent["status"] != "succeeded", "a payment succeeds once"
        charge = self._charge(intent, "succeeded")
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "last_payment_error": None,
        }
        self._tell("charge.succeeded", charge)
        self._tell("payment_intent.succeeded", intent)

    def _decline(self, intent: Json, why: str) -> None:
        charge = self._charge(intent, "failed")
        special = why in {"authentication_required", "debit_not_authorized"}
        error = {"code": why if special else "card_declined", "charge": charge["id"]}
        if not special:
            error["decline_code"] = why
        intent |= {
            "status": "requires_payment_method",
            "last_payment_error": error,
            "payment_method": None,
        }
        self._tell("charge.failed", charge)
        self._tell("payment_intent.payment_failed", intent)

    def _complete(self, session: Json, payment_status: str) -> None:
        session |= {"status": "complete", "payment_status": payment_status}
        self._tell("checkout.session.completed", session)

    def _shown(self, found: Json) -> Json:
        """Return an object as the API shows it, in the shape of the version that is played."""
        shown = {
            name: copy.deepcopy(value)
            for name, value in found.items()
            if not name.startswith("_") and name not in {"behaviour", "payment_intent_data"}
        }
        if found["object"] == "checkout.session":
            open_yet = found["status"] == "open" and not self.old
            shown["payment_intent"] = None if open_yet else found["_payment_intent"]
        if self.old and found["object"] == "payment_intent":
            charges = [c for c in self._all("charge") if c["payment_intent"] == found["id"]]
            shown["charges"] = {"object": "list", "data": [self._shown(c) for c in charges]}
        if self.old and found["object"] == "charge":
            refunds = [r for r in self._all("refund") if r["charge"] == found["id"]]
            shown["refunds"] = {"object": "list", "data": [self._shown(r) for r in refunds]}
            shown["invoice"] = None
        return shown

    def _expanded(self, shown: Json, expand: list[str]) -> Json:
        """Put objects in the place of the ids that were asked to be expanded, one level deep."""
        for path in expand:
            rows = shown["data"] if path.startswith("data.") else [shown]
            name = path.removeprefix("data.")
            for row in rows:
                if isinstance(row.get(name), str):
                    row[name] = self._shown(self.objects[row[name]])
        return shown

    def _tell(self, kind: str, about: Json) -> None:
        event = {
            "id": f"evt_{uuid.uuid4().hex[:24]}",
            "object": "event",
            "api_version": "2022-08-01" if self.old else "2026-10-28.endive",
            "created": int(time.time()),
            "livemode": self.livemode,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
            "data": {"object": self._shown(about)},
        }
        self.events.append(event)
        if self.listener:
            self.listener(event)


def signature(body: str, secret: str, at: int | None = None) -> str:
    """Return the header Stripe-Signature, by the official library's own algorithm."""
    at = int(time.time()) if at is None else at
    made = stripe.WebhookSignature._compute_signature(f"{at}.{body}", secret)  # noqa: SLF001
    return f"t={at},v1={made}"


def _positive(given: Json, name: str) -> int:
    text = str(given.get(name, ""))
    if not text.isdecimal() or int(text) < 1:
        raise Refusal(400, "invalid_request_error", param=name)
    return int(text)


_ID = r"(\w+)"
_ROUTES: list[tuple[str, str, frozenset[str], Callable[..., Json]]] = [
    ("POST", "/v1/payment_intents", _PAYMENT_INTENT, FakeProvider._create_payment_intent),  # noqa: SLF001
    ("POST", "/v1/checkout/sessions", _SESSION, FakeProvider._create_session),  # noqa: SLF001
    ("POST", f"/v1/checkout/sessions/{_ID}/expire", frozenset(), FakeProvider._expire_session),  # noqa: SLF001
    ("POST", "/v1/refunds", _REFUND, FakeProvider._create_refund),  # noqa: SLF001
    (
        "GET",
        f"/v1/customers/{_ID}/payment_methods",
        _LIST | {"type"},
        lambda provider, given, owner: provider._list(  # noqa: SLF001
            given, "payment_method", f"customers/{owner}/payment_methods", owner
        ),
    ),
    *(
        (
            "GET",
            f"/v1/{path}/{_ID}",
            frozenset({"expand"}),
            FakeProvider._retrieve,  # noqa: SLF001
        )
        for path in (
            *("payment_intents", "checkout/sessions", "refunds", "disputes", "charges"),
            *("customers", "payment_methods"),
        )
    ),
    *(
        (
            "GET",
            f"/v1/{path}",
            _LIST | known,
            lambda provider, given, kind=kind, path=path: provider._list(given, kind, path),  # noqa: SLF001
        )
        for path, kind, known in (
            ("payment_intents", "payment_intent", {"customer"}),
            ("checkout/sessions", "checkout.session", {"customer", "payment_intent"}),
            ("refunds", "refund", {"payment_intent", "charge"}),
            ("disputes", "dispute", {"payment_intent", "charge"}),
            ("charges", "charge", {"payment_intent", "customer"}),
        )
    ),
]
