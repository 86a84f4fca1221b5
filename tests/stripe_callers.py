"""The webhook and the checkout called the same, whichever ledger they are over."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pgledger import AsyncLedger, Ledger
from pgledger.records import PaymentEvent
from pgledger.stripe import (
    AsyncStripeCheckout,
    AsyncStripeWebhook,
    StripeCheckout,
    StripeProvider,
    StripeWebhook,
    TopUp,
)
from pgledger.stripe.webhook import Response
from tests.provider import FakeProvider


class Webhook(Protocol):
    def handle(self, body: bytes, signature: str | None) -> PaymentEvent: ...
    def process(self, event_id: str) -> PaymentEvent: ...
    def respond(self, body: bytes, signature: str | None) -> Response: ...


class Checkout(Protocol):
    def create_top_up(self, *args: Any, **given: Any) -> TopUp: ...  # noqa: ANN401


class Caller(Protocol):
    def webhook(self, secret: str, **options: Any) -> Webhook: ...  # noqa: ANN401
    def checkout(self, provider: StripeProvider) -> Checkout: ...


class Sync:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def webhook(self, secret: str, **options: Any) -> Webhook:  # noqa: ANN401
        return StripeWebhook(self._ledger, secret, **options)

    def checkout(self, provider: StripeProvider) -> Checkout:
        return StripeCheckout(self._ledger, provider)


class _Awaited:
    """What is asynchronous, its methods run to the end on a loop."""

    def __init__(self, of: object, run: Callable[[Any], Any]) -> None:
        self._of = of
        self._run = run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **given: self._run(getattr(self._of, name)(*args, **given))


class Async:
    def __init__(self, ledger: AsyncLedger, run: Callable[[Any], Any]) -> None:
        self._ledger = ledger
        self._run = run

    def webhook(self, secret: str, **options: Any) -> Webhook:  # noqa: ANN401
        webhook: Any = _Awaited(AsyncStripeWebhook(self._ledger, secret, **options), self._run)
        return webhook  # type: ignore[no-any-return] # it has the methods

    def checkout(self, provider: StripeProvider) -> Checkout:
        checkout: Any = _Awaited(AsyncStripeCheckout(self._ledger, provider), self._run)
        return checkout  # type: ignore[no-any-return] # it has the methods


@contextmanager
def calling(kind: str, url: str, **options: Any) -> Iterator[Caller]:  # noqa: ANN401
    """Yield a caller over a pool of the kind: sync or async."""
    options = {"min_size": 1, "max_size": 8, "timeout": 20} | options
    with ExitStack() as stack:
        if kind == "sync":
            pool = stack.enter_context(ConnectionPool(url, open=False, **options))
            yield Sync(Ledger(pool))
            return
        runner = stack.enter_context(asyncio.Runner())

        async def opened() -> AsyncConnectionPool:
            pool = AsyncConnectionPool(url, open=False, **options)
            await pool.open()
            return pool

        pool_ = runner.run(opened())
        stack.callback(lambda: runner.run(pool_.close()))
        yield Async(AsyncLedger(pool_), runner.run)


def sold(
    fake: FakeProvider,
    amount: int = 900,
    metadata: dict[str, str] | None = None,
) -> str:
    """Open a checkout session with the metadata of the ledger, and return its id."""
    told: Any = {"pgledger_account": "a", "pgledger_key": "k", "pgledger_credits": "1000"}
    told = told if metadata is None else metadata
    session: Any = {
        "mode": "payment",
        "success_url": "https://example.com",
        "metadata": told,
        "payment_intent_data": {"metadata": told},
        "line_items": [
            {
                "price_data": {
                    "currency": "usd",
                    "unit_amount": amount,
                    "product_data": {"name": "credits"},
                },
                "quantity": 1,
            }
        ],
    }
    return fake.client().v1.checkout.sessions.create(session).id
