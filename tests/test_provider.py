"""The fake provider does what the tests rely on, as seen by the official client."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.postman import Postman
from tests.provider import FakeProvider


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


def charge(
    provider: FakeProvider,
    customer: str,
    key: str = "k",
    amount: int = 500,
    **more: Any,  # noqa: ANN401
) -> stripe.PaymentIntent:
    client = provider.client()
    (card,) = client.v1.customers.payment_methods.list(customer).data
    asked: Any = {
        "amount": amount,
        "currency": "usd",
        "customer": customer,
        "payment_method": card.id,
        "confirm": True,
        "off_session": True,
        "metadata": {"pgledger_account": "a", "pgledger_key": "#auto-1"},
        **more,
    }
    return client.v1.payment_intents.create(asked, {"idempotency_key": key})


def test_a_charge_takes_the_money_and_tells_of_it(provider: FakeProvider) -> None:
    intent = charge(provider, provider.customer(), expand=["latest_charge"])

    assert (intent.status, intent.amount_received, intent.livemode) == ("succeeded", 500, False)
    assert isinstance(intent.latest_charge, stripe.Charge)
    assert provider.charged() == {("a", "#auto-1"): 1}
    (event,) = provider.told("payment_intent.succeeded")
    body, signature = provider.signed(event)
    told = stripe.Webhook.construct_event(body, signature, provider.secret)
    assert told.data.object["id"] == intent.id


def test_a_key_charges_once(provider: FakeProvider) -> None:
    customer = provider.customer()

    assert charge(provider, customer).id == charge(provider, customer).id
    assert len(provider.succeeded()) == 1


def test_a_key_is_refused_for_something_else(provider: FakeProvider) -> None:
    customer = provider.customer()
    charge(provider, customer)

    with pytest.raises(stripe.IdempotencyError):
        charge(provider, customer, amount=501)


def test_a_forgotten_key_charges_again(provider: FakeProvider) -> None:
    customer = provider.customer()
    charge(provider, customer)
    provider.forget_keys()
    charge(provider, customer)

    assert provider.charged() == {("a", "#auto-1"): 2}


def test_a_decline_is_kept_under_its_key(provider: FakeProvider) -> None:
    customer = provider.customer("insufficient_funds")
    for _ in range(2):
        with pytest.raises(stripe.CardError) as caught:
            charge(provider, customer)
        assert caught.value.code == "card_declined"
        assert caught.value.error
        assert caught.value.error.decline_code == "insufficient_funds"
    assert len(provider.told("payment_intent.payment_failed")) == 1


def test_a_key_in_use_is_told_apart(provider: FakeProvider) -> None:
    customer = provider.customer()
    outcomes: list[str] = []
    with provider.held() as arrived:
        first = threading.Thread(target=lambda: outcomes.append(charge(provider, customer).id))
        first.start()
        arrived()
        with pytest.raises(stripe.APIError) as caught:
            charge(provider, customer)
    first.join()

    assert caught.value.http_status == 409
    assert outcomes == [charge(provider, customer).id]


@pytest.mark.parametrize(
    ("trouble", "error", "charged"),
    [
        ("drop", stripe.APIConnectionError, 1),
        ("down", stripe.APIError, 0),
        ("limit", stripe.RateLimitError, 0),
        ("error", stripe.APIError, 1),
    ],
)
def test_troubles_are_what_they_say(
    provider: FakeProvider, trouble: str, error: type[Exception], charged: int
) -> None:
    customer = provider.customer()
    provider.next(trouble)

    with pytest.raises(error):
        charge(provider, customer)
    assert len(provider.succeeded()) == charged


def test_lists_are_paged_newest_first(provider: FakeProvider) -> None:
    customer = provider.customer()
    made = [charge(provider, customer, f"k{n}").id for n in range(5)]
    charge(provider, provider.customer(), "of another")

    listed = provider.client().v1.payment_intents.list({"customer": customer, "limit": 2})
    assert [intent.id for intent in listed.auto_paging_iter()] == made[::-1]


def test_parameters_that_stripe_does_not_know_are_refused(provider: FakeProvider) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        charge(provider, provider.customer(), creditz="1")
    assert caught.value.code == "parameter_unknown"


@pytest.mark.parametrize("old", [False, True])
def test_a_session_is_paid(old: bool) -> None:  # noqa: FBT001 - a parameter of the test
    with FakeProvider(old=old) as provider:
        session = provider.client().v1.checkout.sessions.create(
            {
                "mode": "payment",
                "success_url": "https://example.com",
                "line_items": [
                    {
                        "price_data": {
                            "currency": "usd",
                            "unit_amount": 900,
                            "product_data": {"name": "credits"},
                        },
                        "quantity": 1,
                    }
                ],
                "payment_intent_data": {"metadata": {"pgledger_key": "k"}},
            }
        )
        assert (session.payment_intent is not None) == old
        provider.pay(session.id, "card_declined")
        assert not provider.succeeded()
        payment_id = provider.pay(session.id)
        (intent,) = provider.succeeded()
        assert (intent["id"], intent["metadata"]) == (payment_id, {"pgledger_key": "k"})
        (event,) = provider.told("checkout.session.completed")
        assert event["data"]["object"]["payment_intent"] == payment_id


def test_the_postman_brings_every_event_in_the_end(provider: FakeProvider) -> None:
    came: list[bytes] = []
    lock = threading.Lock()

    def send(body: bytes, signature: str) -> int:
        with lock:
            came.append(body)
            stripe.Webhook.construct_event(body, signature, provider.secret)
            return 500 if len(came) % 3 == 0 else 200

    with Postman(provider, send, seed=7) as postman:
        customer = provider.customer()
        for number in range(20):
            charge(provider, customer, str(number))
        postman.drain()

    assert postman.delivered.keys() == {event["id"] for event in provider.told()}
    assert len(came) > len(provider.told())
