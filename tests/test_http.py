"""The ready-made endpoint, asked over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from pgledger import AsyncLedger, Ledger
from pgledger.http import webhook_app, webhook_endpoint
from pgledger.stripe import AsyncStripeWebhook, StripeWebhook
from tests.provider import FakeProvider
from tests.stripe_callers import sold
from tests.support import ask

Db = psycopg.Connection[DictRow]


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


class Client:
    """A client of an ASGI application, whose requests are run on a loop."""

    def __init__(self, app: Any, runner: asyncio.Runner) -> None:  # noqa: ANN401 - ASGI
        self._app = app
        self._runner = runner

    def send(self, method: str, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **more)

        return self._runner.run(send())

    def post(self, body: Any, signature: str | None, path: str = "/") -> tuple[int, Any]:  # noqa: ANN401
        headers = {} if signature is None else {"Stripe-Signature": signature}
        response = self.send("POST", path, content=body, headers=headers)
        return response.status_code, response.json()


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=["sync", "async"])
def client(
    request: pytest.FixtureRequest, database_url: str, fake: FakeProvider, runner: asyncio.Runner
) -> Iterator[Client]:
    if request.param == "sync":
        with ConnectionPool(database_url, open=False) as pool:
            webhook = StripeWebhook(Ledger(pool), fake.secret, test_mode=True)
            yield Client(webhook_app(webhook), runner)
        return

    async def opened() -> AsyncConnectionPool:
        pool = AsyncConnectionPool(database_url, open=False)
        await pool.open()
        return pool

    async_pool = runner.run(opened())
    awaited = AsyncStripeWebhook(AsyncLedger(async_pool), fake.secret, test_mode=True)
    yield Client(webhook_app(awaited), runner)
    runner.run(async_pool.close())


def test_an_event_is_taken_once(db: Db, client: Client, fake: FakeProvider) -> None:
    fake.pay(sold(fake))
    for event in fake.told():
        for duplicate in (False, True):
            status, answer = client.post(*fake.signed(event))
            assert (status, answer["id"], answer["duplicate"]) == (200, event["id"], duplicate)
    assert ask(db, "get_credits", account_id="a")["get_credits"] == 1000


@pytest.mark.parametrize("signature", [None, "", "t=1,v1=0", "garbage"])
def test_what_is_not_signed_is_a_bad_request(client: Client, signature: str | None) -> None:
    status, answer = client.post(b"{}", signature)
    assert status == 400
    assert answer.keys() == {"error"}


@pytest.mark.parametrize("parts", [1, 17])
def test_a_body_that_is_too_large_is_not_read_to_its_end(client: Client, parts: int) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(parts + 50):
            sent += 1
            yield b"x" * (2**20 // parts + 1)

    assert client.post(body(), "t=1,v1=0") == (413, {"error": "the body is too large"})
    assert sent <= parts + 1


def test_a_failed_event_is_an_error_until_it_can_be_applied(
    db: Db, client: Client, fake: FakeProvider
) -> None:
    for account_id in ("a", "b"):
        ask(db, "open_account", account_id=account_id)
    customer = fake.customer()
    ask(db, "link_identifier", account_id="b", identifier=customer)
    fake.set_up(customer, pgledger_account="a")
    (event,) = fake.told()
    failed = {"id": event["id"], "status": "FAILED", "duplicate": False}
    assert client.post(*fake.signed(event)) == (500, failed)
    ask(db, "unlink_identifier", identifier=customer)
    assert client.post(*fake.signed(event)) == (
        200,
        {"id": event["id"], "status": "PROCESSED", "duplicate": True},
    )


def test_only_posts_are_taken(client: Client) -> None:
    assert client.send("GET", "/").status_code == 405
    assert client.send("POST", "/elsewhere").status_code == 404


def test_it_is_part_of_another_application(
    database_url: str, fake: FakeProvider, runner: asyncio.Runner
) -> None:
    fake.pay(sold(fake))
    sent = fake.signed(fake.told()[-1])
    with ConnectionPool(database_url, open=False) as pool:
        webhook = StripeWebhook(Ledger(pool), fake.secret, test_mode=True)
        app = Starlette(
            routes=[
                Route("/stripe", webhook_endpoint(webhook), methods=["POST"]),
                Mount("/mounted", webhook_app(webhook)),
            ]
        )
        client = Client(app, runner)
        assert client.post(*sent, path="/stripe")[0] == 200
        assert client.post(*sent, path="/mounted/")[0] == 200
