"""The page on payments: its checkout sells credits, its endpoints take events by each framework."""

import asyncio
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import httpx
import psycopg
import pytest
import stripe
from django.conf import settings
from django.test import Client as DjangoClient
from django.test import override_settings
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from pgledger import Ledger
from pgledger.stripe import EVENT_TYPES
from tests.provider import FakeProvider
from tests.stripe_callers import sold
from tests.support import ask, pending

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "payments.md").read_text()
README = (ROOT / "README.md").read_text()

Db = psycopg.Connection[DictRow]
# Sends a body with a signature to the endpoint, and returns the status and the answer.
Post = Callable[[bytes, str], tuple[int, Any]]


def part(title: str) -> str:
    """Return the Python of a part of the page."""
    _, _, rest = PAGE.partition(f"# {title}\n")
    found = re.search(r"^```python\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL)
    assert found, f"no Python in {title}"
    return found[1]


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(livemode=True) as fake:
        yield fake


@pytest.fixture
def names(
    database_url: str, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """Run the example of the webhook, and return what it defines."""
    monkeypatch.setenv("PGLEDGER_DATABASE_URL", database_url)
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", fake.secret)
    names: dict[str, Any] = {"__name__": "endpoint"}
    exec(part("Webhooks"), names)  # noqa: S102 - that is the test
    yield names
    names["pool"].close()


def over_asgi(app: Any, path: str) -> Post:  # noqa: ANN401 - any ASGI application
    async def send(body: bytes, signature: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(path, content=body, headers={"Stripe-Signature": signature})

    def post(body: bytes, signature: str) -> tuple[int, Any]:
        response = asyncio.run(send(body, signature))
        return response.status_code, response.json()

    return post


def by_starlette(names: dict[str, Any]) -> Post:
    return over_asgi(names["app"], "/")


def by_fastapi(names: dict[str, Any]) -> Post:
    exec(part("FastAPI"), names)  # noqa: S102 - that is the test
    return over_asgi(names["app"], "/stripe")


def by_django(names: dict[str, Any]) -> Post:
    module = types.ModuleType("pgledger_example_urls")
    vars(module)["webhook"] = names["webhook"]
    if not settings.configured:
        settings.configure()
        django.setup()
    exec(part("Django"), vars(module))  # noqa: S102 - that is the test
    sys.modules[module.__name__] = module

    def post(body: bytes, signature: str) -> tuple[int, Any]:
        with override_settings(
            ROOT_URLCONF=module.__name__,
            ALLOWED_HOSTS=["*"],
            MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
        ):
            client = DjangoClient(enforce_csrf_checks=True)
            headers = {"Stripe-Signature": signature}
            response = client.generic("POST", "/stripe", body, headers=headers)
            return response.status_code, response.json()

    return post


def by_flask(names: dict[str, Any]) -> Post:
    exec(part("Flask"), names)  # noqa: S102 - that is the test
    client = names["app"].test_client()

    def post(body: bytes, signature: str) -> tuple[int, Any]:
        response = client.post("/stripe", data=body, headers={"Stripe-Signature": signature})
        return response.status_code, response.json

    return post


@pytest.mark.parametrize("by", [by_starlette, by_fastapi, by_django, by_flask])
def test_the_endpoints_take_events(
    db: Db, fake: FakeProvider, names: dict[str, Any], by: Callable[[dict[str, Any]], Post]
) -> None:
    post = by(names)
    fake.pay(sold(fake))
    for event in fake.told():
        for duplicate in (False, True):
            status, answer = post(*fake.signed(event))
            assert (status, answer["duplicate"]) == (200, duplicate)
    assert ask(db, "get_credits", account_id="a")["get_credits"] == 1000
    body, _ = fake.signed(event)
    assert post(body, "t=1,v1=0")[0] == 400
    with FakeProvider() as test_mode:
        test_mode.secret = fake.secret
        test_mode.customer()
        test_mode.pay(sold(test_mode))
        assert post(*test_mode.signed(test_mode.told()[-1]))[0] == 400
    db.execute("alter table pgledger.payment_events rename to away")
    assert post(*fake.signed(event))[0] == 500


def test_the_checkout_sells_credits(
    db: Db,
    database_url: str,
    fake: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = fake.client()
    monkeypatch.setattr(stripe, "StripeClient", lambda _key: client)
    names: dict[str, Any] = {"database_url": database_url, "api_key": fake.api_key}
    exec(part("Checkout"), names)  # noqa: S102 - that is the test
    names["pool"].close()
    (url,) = re.findall(r"send the payer to (\S+)", capsys.readouterr().out)
    assert names["top_up"].url == url
    assert pending(db, "alice") == {"order-17": "PENDING"}


def test_the_readme_takes_events(db: Db, database_url: str, fake: FakeProvider) -> None:
    (block,) = re.findall(
        r"^```python\n(from pgledger.stripe.*?)^```$", README, re.MULTILINE | re.DOTALL
    )
    with ConnectionPool(database_url, open=False) as pool:
        names: dict[str, Any] = {"Ledger": Ledger, "pool": pool, "signing_secret": fake.secret}
        exec(block, names)  # noqa: S102 - that is the test
        fake.pay(sold(fake))
        for event in fake.told():
            assert names["stripe_webhook"](*fake.signed(event))[0] == 200
    assert ask(db, "get_credits", account_id="a")["get_credits"] == 1000


def test_the_page_names_what_there_is() -> None:
    for name in ("EVENT_TYPES", "AsyncStripeWebhook", "AsyncStripeCheckout", "WebhookRefusedError"):
        assert f"{name}`" in PAGE
        assert hasattr(__import__("pgledger.stripe", fromlist=[name]), name)
    assert "payment_intent.succeeded" in EVENT_TYPES


def test_the_worker_of_the_page_charges_what_is_due(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(part("In your own program"), {"database_url": database_url})  # noqa: S102 - that is the test
    assert capsys.readouterr().out == "530\n"
