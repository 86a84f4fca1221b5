"""A checkout is opened for a top-up that is announced, and for no other."""

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow

from pgledger import AsyncLedger, IdempotencyConflictError, Ledger, TopUpLimitError
from pgledger.payments import ProviderUnavailableError
from pgledger.stripe import (
    AsyncStripeCheckout,
    CheckoutRefusedError,
    CheckoutUnavailableError,
    StripeCheckout,
    StripeProvider,
    StripeWebhook,
)
from tests.provider import FakeProvider
from tests.provider_http import Json
from tests.stripe_callers import Caller, Checkout, calling
from tests.support import ask, in_order, pending

Db = psycopg.Connection[DictRow]

PAGE: dict[str, Any] = {
    "price": 900,
    "currency": "usd",
    "success_url": "https://example.com/done",
    "cancel_url": "https://example.com/credits",
}


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest, database_url: str) -> Iterator[Caller]:
    with calling(request.param, database_url) as caller:
        yield caller


@pytest.fixture
def checkout(caller: Caller, fake: FakeProvider) -> Checkout:
    return caller.checkout(StripeProvider(fake.client(), test_mode=True))


@pytest.fixture
def quick(db: Db, fake: FakeProvider) -> StripeCheckout:
    return StripeCheckout(Ledger(db), StripeProvider(fake.client(), test_mode=True))


def sessions(fake: FakeProvider) -> list[Json]:
    return [found for found in fake.objects.values() if found["object"] == "checkout.session"]


def asked(fake: FakeProvider) -> list[Json]:
    """Return what the provider was asked to make of sessions."""
    return [r.given for r in fake.requests if (r.method, r.path) == ("POST", SESSIONS)]


SESSIONS = "/v1/checkout/sessions"


def test_a_top_up_is_announced_and_paid_at_its_url(
    db: Db, checkout: Checkout, fake: FakeProvider
) -> None:
    top_up = checkout.create_top_up("a", 1000, key="k", name="A thousand", **PAGE)
    (session,) = sessions(fake)
    assert (top_up.key, top_up.url, top_up.status) == ("k", session["url"], "PENDING")
    assert (top_up.amount, top_up.price, top_up.currency) == (1000, 900, "usd")
    assert pending(db) == {"k": "PENDING"}
    metadata = {"pgledger_account": "a", "pgledger_key": "k", "pgledger_credits": "1000"}
    assert asked(fake) == [
        {
            "mode": "payment",
            "client_reference_id": "k",
            "customer_creation": "always",
            "line_items": [
                {
                    "price_data": {
                        "currency": "usd",
                        "unit_amount": "900",
                        "product_data": {"name": "A thousand"},
                    },
                    "quantity": "1",
                }
            ],
            "metadata": metadata,
            "payment_intent_data": {"metadata": metadata},
            "success_url": "https://example.com/done",
            "cancel_url": "https://example.com/credits",
        }
    ]
    fake.pay(session["id"])
    webhook = StripeWebhook(Ledger(db), fake.secret, test_mode=True)
    for event in fake.told():
        webhook.handle(*fake.signed(event))
    assert ask(db, "get_credits", account_id="a")["get_credits"] == 1000
    assert in_order(db)


def test_a_repeat_opens_nothing_new(db: Db, checkout: Checkout, fake: FakeProvider) -> None:
    first = checkout.create_top_up("a", 1000, key="k", **PAGE)
    assert checkout.create_top_up("a", 1000, key="k", **PAGE) == first
    # Nor with another page to come back to, which Stripe refuses under the same key.
    elsewhere = PAGE | {"success_url": "https://example.com/elsewhere"}
    assert checkout.create_top_up("a", 1000, key="k", **elsewhere) == first
    assert len(sessions(fake)) == 1
    assert pending(db) == {"k": "PENDING"}
    with pytest.raises(IdempotencyConflictError):
        checkout.create_top_up("a", 1000, key="k", **PAGE | {"price": 901})


def test_each_top_up_has_a_checkout_of_its_own(quick: StripeCheckout, fake: FakeProvider) -> None:
    urls = {quick.create_top_up("a", 1000, **PAGE).url for _ in range(3)}
    assert len(urls) == len(sessions(fake)) == 3


def test_what_is_paid_or_cancelled_is_not_to_be_paid_again(
    db: Db, checkout: Checkout, fake: FakeProvider
) -> None:
    checkout.create_top_up("a", 1000, key="k", **PAGE)
    ask(db, "enable_transaction", account_id="a", key="k")
    paid = checkout.create_top_up("a", 1000, key="k", **PAGE)
    assert (paid.status, paid.url) == ("POSTED", None)
    assert len(asked(fake)) == 1


@pytest.mark.parametrize(
    ("page", "api_key", "reason"),
    [
        ({"price": 1}, None, "amount_too_small"),
        ({"session": {"colour": "red"}}, None, "parameter_unknown"),
        ({}, "sk_test_withdrawn", "checkout_refused"),
    ],
)
def test_a_no_cancels_the_top_up(
    db: Db, caller: Caller, page: dict[str, Any], api_key: str | None, reason: str
) -> None:
    with FakeProvider() as fake:
        client = fake.client(api_key=api_key)
        checkout = caller.checkout(StripeProvider(client, test_mode=True))
        with pytest.raises(CheckoutRefusedError) as caught:
            checkout.create_top_up("a", 1000, key="k", **PAGE | page)
    error = caught.value
    assert (error.account_id, error.key, error.reason) == ("a", "k", reason)
    assert pending(db) == {"k": "CANCELLED"}
    (row,) = db.execute("select to_jsonb(p)::text as all from pgledger.pending_transactions p")
    assert reason in row["all"]


@pytest.mark.parametrize("trouble", ["down", "limit", "drop", "error"])
def test_no_answer_leaves_the_top_up_to_a_repeat(
    db: Db, checkout: Checkout, fake: FakeProvider, trouble: str
) -> None:
    fake.next(trouble)
    with pytest.raises(CheckoutUnavailableError) as caught:
        checkout.create_top_up("a", 1000, **PAGE)
    assert isinstance(caught.value, ProviderUnavailableError)
    key = caught.value.key
    assert pending(db) == {key: "PENDING"}
    if trouble == "error":
        # Stripe keeps the answer of a request that it broke down over.
        with pytest.raises(CheckoutUnavailableError):
            checkout.create_top_up("a", 1000, key=key, **PAGE)
        fake.forget_keys()
    top_up = checkout.create_top_up("a", 1000, key=key, **PAGE)
    assert top_up.url in {session["url"] for session in sessions(fake)}


def test_the_limits_are_judged_before_stripe_is_asked(
    db: Db, checkout: Checkout, fake: FakeProvider
) -> None:
    ask(db, "set_top_up_limits", minimum=2000)
    with pytest.raises(TopUpLimitError):
        checkout.create_top_up("a", 1000, **PAGE)
    assert (pending(db), fake.requests) == ({}, [])


@pytest.mark.parametrize("wrong", [{"price": 0}, {"price": 9.5}, {"currency": "$"}])
def test_money_is_whole_and_has_a_currency(
    quick: StripeCheckout, fake: FakeProvider, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("price", "amount")):
        quick.create_top_up("a", 1000, **PAGE | wrong)
    assert fake.requests == []


def test_a_known_customer_pays_as_that_one_and_a_card_is_kept_when_asked(
    db: Db, quick: StripeCheckout, fake: FakeProvider
) -> None:
    quick.create_top_up("a", 1000, save_card=True, **PAGE)
    customer = fake.customer()
    ask(db, "link_identifier", account_id="a", identifier=customer)
    quick.create_top_up("a", 1000, **PAGE)
    new, known = asked(fake)
    assert new["payment_intent_data"]["setup_future_usage"] == "off_session"
    assert (new["customer_creation"], "customer" in new) == ("always", False)
    assert "setup_future_usage" not in known["payment_intent_data"]
    assert (known["customer"], "customer_creation" in known) == (customer, False)


def test_a_customer_who_became_known_meanwhile_gets_the_same_checkout(
    db: Db, quick: StripeCheckout, fake: FakeProvider
) -> None:
    first = quick.create_top_up("a", 1000, key="k", **PAGE)
    other = quick.create_top_up("a", 1000, key="l", **PAGE)
    ask(db, "link_identifier", account_id="a", identifier=fake.customer())
    assert quick.create_top_up("a", 1000, key="k", **PAGE) == first
    assert quick.create_top_up("a", 1000, key="l", **PAGE) == other
    fake.expire(sessions(fake)[0]["id"])
    with pytest.raises(CheckoutUnavailableError):
        quick.create_top_up("a", 1000, key="k", **PAGE)


def test_what_else_a_session_has_is_given_as_stripe_takes_it(
    quick: StripeCheckout, fake: FakeProvider
) -> None:
    more: dict[str, Any] = {
        "locale": "de",
        "mode": "subscription",
        "metadata": {"shop": "s", "pgledger_account": "somebody_else"},
        "payment_intent_data": {"description": "credits", "metadata": {"shop": "s"}},
    }
    quick.create_top_up("a", 1000, key="k", session=more, **PAGE)
    (made,) = asked(fake)
    assert (made["locale"], made["mode"]) == ("de", "payment")
    assert made["metadata"]["shop"] == made["payment_intent_data"]["metadata"]["shop"] == "s"
    assert made["metadata"]["pgledger_account"] == "a"
    assert made["payment_intent_data"]["description"] == "credits"
    assert made["payment_intent_data"]["metadata"]["pgledger_key"] == "k"


def test_a_long_key_is_no_reference_for_the_client(
    quick: StripeCheckout, fake: FakeProvider
) -> None:
    for length in (200, 201):
        quick.create_top_up("a", 1000, key="k" * length, **PAGE)
    allowed, too_long = asked(fake)
    assert allowed["client_reference_id"] == "k" * 200
    assert "client_reference_id" not in too_long
    assert too_long["metadata"]["pgledger_key"] == "k" * 201


def test_what_goes_with_the_top_up_goes_to_the_ledger(db: Db, quick: StripeCheckout) -> None:
    quick.create_top_up(
        "a", 1000, key="k", reference="chat-1", metadata={"campaign": "x"}, priority=3, **PAGE
    )
    found = ask(db, "get_transaction", account_id="a", key="k")
    assert found["reference"] == "chat-1"
    assert found["metadata"]["campaign"] == "x"


def test_a_transaction_that_is_open_is_refused(
    database_url: str, db: Db, fake: FakeProvider
) -> None:
    provider = StripeProvider(fake.client(), test_mode=True)
    with psycopg.connect(database_url) as connection:
        checkout = StripeCheckout(Ledger(connection), provider)
        with connection.transaction(), pytest.raises(psycopg.ProgrammingError, match="committed"):
            checkout.create_top_up("a", 1000, **PAGE)
        # Outside of one it commits by itself, though the connection would not.
        key = checkout.create_top_up("a", 1000, **PAGE).key
        assert pending(db) == {key: "PENDING"}

    async def refused() -> None:
        async with (
            await psycopg.AsyncConnection.connect(database_url) as connection,
            connection.transaction(),
        ):
            with pytest.raises(psycopg.ProgrammingError, match="committed"):
                await AsyncStripeCheckout(AsyncLedger(connection), provider).create_top_up(
                    "a", 1000, **PAGE
                )

    asyncio.run(refused())
    assert len(sessions(fake)) == 1
