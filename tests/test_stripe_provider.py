"""StripeProvider asks Stripe as it should, and reads every answer for what it is."""

import dataclasses
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from pgledger.payments import (
    Books,
    Charged,
    Charger,
    Declined,
    Money,
    Processing,
    ProviderUnavailableError,
    Refunder,
    RefundOrder,
    RefundRefusedError,
)
from pgledger.records import Charge
from pgledger.stripe import StripeProvider
from tests.provider import FakeProvider

PRICE = Money(900, "usd")
DAY = timedelta(days=1)


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture
def provider(fake: FakeProvider) -> StripeProvider:
    return StripeProvider(fake.client(), test_mode=True)


def a_charge(customer: str | None, **different: Any) -> Charge:  # noqa: ANN401 - any field
    charge = Charge(
        account_id="a",
        key="#auto-1",
        amount=1000,
        status="PENDING",
        replayed=False,
        reference=None,
        price=None,
        price_currency=None,
        attempt=0,
        claims=1,
        idempotency_key="pgledger-1",
        customer=customer,
        payment_method=None,
        created_at=datetime.now(UTC),
    )
    return dataclasses.replace(charge, **different)


def order(payment_id: str, **different: Any) -> RefundOrder:  # noqa: ANN401 - any field
    found = RefundOrder("a", "r", payment_id, Money(300, "usd"), "pgledger-refund-1")
    return dataclasses.replace(found, **different)


def test_it_is_what_the_workers_ask_for(provider: StripeProvider) -> None:
    assert isinstance(provider, Charger)
    assert isinstance(provider, Refunder)
    assert isinstance(provider, Books)
    assert provider.name == "stripe"


def test_a_charge_takes_the_money_once(fake: FakeProvider, provider: StripeProvider) -> None:
    customer = fake.customer()
    charged = provider.charge(a_charge(customer), PRICE)

    (intent,) = fake.succeeded()
    assert charged == Charged(intent["id"], 900, "usd", customer)
    assert intent["metadata"] == {
        "pgledger_account": "a",
        "pgledger_key": "#auto-1",
        "pgledger_credits": "1000",
        "pgledger_attempt": "0",
    }
    assert provider.charge(a_charge(customer), PRICE) == charged
    assert len(fake.succeeded()) == 1


def test_the_card_named_is_charged_before_the_default_one(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    customer = fake.customer("insufficient_funds")
    card = fake.card(customer)
    assert isinstance(provider.charge(a_charge(customer, payment_method=card), PRICE), Charged)


def test_without_a_default_card_the_latest_is_charged(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    customer = fake.customer(None)
    fake.card(customer, "insufficient_funds")
    fake.card(customer)
    assert isinstance(provider.charge(a_charge(customer), PRICE), Charged)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("insufficient_funds", "insufficient_funds"),
        ("authentication_required", "authentication_required"),
    ],
)
def test_a_decline_says_why(
    fake: FakeProvider, provider: StripeProvider, behaviour: str, reason: str
) -> None:
    declined = provider.charge(a_charge(fake.customer(behaviour)), PRICE)
    (event,) = fake.told("payment_intent.payment_failed")
    assert declined == Declined(reason, event["data"]["object"]["id"])


def test_who_has_no_card_is_declined_for_good(fake: FakeProvider, provider: StripeProvider) -> None:
    gone = fake.customer()
    fake.objects[gone]["deleted"] = True
    assert provider.charge(a_charge(None), PRICE) == Declined("no_customer", permanent=True)
    for customer in (fake.customer(None), gone, "cus_unknown"):
        assert provider.charge(a_charge(customer), PRICE) == Declined(
            "no_payment_method", permanent=True
        )
    assert fake.succeeded() == []


def test_a_card_that_is_gone_is_a_decline(fake: FakeProvider, provider: StripeProvider) -> None:
    gone = a_charge(fake.customer(), payment_method="pm_gone")
    of_another = a_charge(fake.customer(), payment_method=fake.card(fake.customer()))
    assert provider.charge(gone, PRICE) == Declined("resource_missing")
    assert provider.charge(of_another, PRICE) == Declined("invalid_payment_method")


def test_a_wrong_request_is_nobodys_decline(fake: FakeProvider, provider: StripeProvider) -> None:
    fake.trouble = lambda _: "wrong"
    with pytest.raises(stripe.InvalidRequestError):
        provider.charge(a_charge(fake.customer()), PRICE)


def test_a_charge_under_way_is_processing(fake: FakeProvider, provider: StripeProvider) -> None:
    processing = provider.charge(a_charge(fake.customer("processing")), PRICE)
    (event,) = fake.told("payment_intent.processing")
    assert processing == Processing(event["data"]["object"]["id"], "processing")


@pytest.mark.parametrize("trouble", ["down", "limit", "drop", "error"])
def test_an_answer_that_did_not_come_is_unavailable(
    fake: FakeProvider, provider: StripeProvider, trouble: str
) -> None:
    customer = fake.customer()
    fake.next(trouble)
    with pytest.raises(ProviderUnavailableError) as caught:
        provider.charge(a_charge(customer), PRICE)
    assert customer not in str(caught.value)

    found = provider.find(a_charge(customer))
    assert isinstance(found, Charged) == (trouble in {"drop", "error"})
    assert (found is None) == (trouble in {"down", "limit"})


def test_a_charge_that_is_being_made_is_unavailable(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    charge = a_charge(fake.customer())
    with fake.held() as arrived:
        first = threading.Thread(target=provider.charge, args=(charge, PRICE))
        first.start()
        arrived()
        with pytest.raises(ProviderUnavailableError):
            provider.charge(charge, PRICE)
    first.join()
    assert len(fake.succeeded()) == 1


def test_nobody_there_is_unavailable() -> None:
    with FakeProvider() as gone:
        client = gone.client()
    with pytest.raises(ProviderUnavailableError):
        StripeProvider(client, test_mode=True).charge(a_charge("cus_1"), PRICE)


def test_what_was_asked_before_counts_though_the_price_is_another(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    customer = fake.customer()
    charged = provider.charge(a_charge(customer), PRICE)
    assert provider.charge(a_charge(customer), Money(901, "usd")) == charged
    # Nor does it matter to whom the account is linked by now.
    assert provider.charge(a_charge(fake.customer()), PRICE) == charged


def test_a_key_that_was_used_for_nothing_is_unavailable(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    customer = fake.customer()
    other = a_charge(customer, key="#auto-2")
    provider.charge(other, PRICE)
    with pytest.raises(ProviderUnavailableError):
        provider.charge(a_charge(customer), PRICE)


def test_a_charge_is_found_however_long_ago(fake: FakeProvider, provider: StripeProvider) -> None:
    customer = fake.customer()
    charged = provider.charge(a_charge(customer), PRICE)
    for number in range(120):
        provider.charge(
            a_charge(customer, key=f"#auto-{number + 2}", idempotency_key=str(number)), PRICE
        )
    fake.forget_keys()
    assert provider.find(a_charge(customer)) == charged
    # Its account may have lost its customer since.
    assert provider.find(a_charge(None)) == charged


@pytest.mark.parametrize(
    "different", [{"account_id": "b"}, {"key": "#auto-2"}, {"created_at": datetime.now(UTC) + DAY}]
)
def test_only_its_own_charge_is_found(
    fake: FakeProvider, provider: StripeProvider, different: dict[str, Any]
) -> None:
    customer = fake.customer()
    provider.charge(a_charge(customer), PRICE)
    assert provider.find(a_charge(customer, **different)) is None
    assert provider.find(a_charge(fake.customer())) is None


def test_a_decline_is_found_for_its_own_attempt(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    customer = fake.customer("insufficient_funds")
    declined = provider.charge(a_charge(customer), PRICE)
    assert provider.find(a_charge(customer)) == declined
    assert provider.find(a_charge(customer, attempt=1)) is None


def test_money_that_came_after_all_is_found_at_any_attempt(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    customer = fake.customer("processing")
    processing = provider.charge(a_charge(customer), PRICE)
    assert isinstance(processing, Processing)
    again = fake.card(customer, "insufficient_funds")
    provider.charge(
        a_charge(customer, attempt=1, idempotency_key="pgledger-2", payment_method=again), PRICE
    )
    assert provider.find(a_charge(customer, attempt=1)) == processing
    fake.settle(processing.payment_id)
    found = provider.find(a_charge(customer, attempt=1))
    assert isinstance(found, Charged)
    assert found.payment_id == processing.payment_id


def test_what_is_under_way_counts_more_than_a_decline_before_it(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    customer = fake.customer("insufficient_funds")
    provider.charge(a_charge(customer), PRICE)
    later = a_charge(
        customer, attempt=1, idempotency_key="2", payment_method=fake.card(customer, "processing")
    )
    processing = provider.charge(later, PRICE)
    assert isinstance(processing, Processing)
    assert provider.find(a_charge(customer)) == processing


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("requires_action", Declined("authentication_required", "pi")),
        ("requires_confirmation", Declined("authentication_required", "pi")),
        ("requires_capture", Processing("pi", "requires_capture")),
        ("canceled", Declined("canceled", "pi")),
    ],
)
def test_every_status_is_an_outcome(
    fake: FakeProvider, provider: StripeProvider, status: str, outcome: Declined | Processing
) -> None:
    customer = fake.customer("processing")
    processing = provider.charge(a_charge(customer), PRICE)
    assert isinstance(processing, Processing)
    fake.objects[processing.payment_id]["status"] = status
    assert provider.find(a_charge(customer)) == dataclasses.replace(
        outcome, payment_id=processing.payment_id
    )


def paid(fake: FakeProvider, provider: StripeProvider, **different: Any) -> str:  # noqa: ANN401
    charged = provider.charge(a_charge(fake.customer(), **different), PRICE)
    assert isinstance(charged, Charged)
    return charged.payment_id


def test_a_refund_is_made_once(fake: FakeProvider, provider: StripeProvider) -> None:
    payment_id = paid(fake, provider)
    fact = provider.refund(order(payment_id))
    (event,) = fake.told("refund.created")
    assert fact == {
        "record": "refund",
        "refund_id": event["data"]["object"]["id"],
        "payment_id": payment_id,
        "amount": 300,
        "status": "SUCCEEDED",
        "request_key": "r",
        "account_id": "a",
        "occurred_at": fact["occurred_at"],
    }
    assert provider.refund(order(payment_id)) == fact
    assert len(fake.told("refund.created")) == 1


def test_a_refund_is_found_however_long_ago(fake: FakeProvider, provider: StripeProvider) -> None:
    payment_id = paid(fake, provider)
    assert provider.find_refund(order(payment_id)) is None
    fake.next("drop")
    with pytest.raises(ProviderUnavailableError):
        provider.refund(order(payment_id))
    fake.forget_keys()
    found = provider.find_refund(order(payment_id))
    assert found is not None
    assert (found["amount"], found["request_key"]) == (300, "r")
    for different in ({"account_id": "b"}, {"key": "s"}):
        assert provider.find_refund(order(payment_id, **different)) is None


def test_the_answer_to_a_repeat_is_as_old_as_the_refund(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    payment_id = paid(fake, provider)
    refund = fake.objects[provider.refund(order(payment_id))["refund_id"]]
    assert provider.refund(order(payment_id))["occurred_at"] == (
        datetime.fromtimestamp(refund["created"], UTC).isoformat()
    )


def test_a_refund_of_other_money_under_the_same_key_is_the_first(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    payment_id = paid(fake, provider)
    provider.refund(order(payment_id))
    fact = provider.refund(order(payment_id, money=Money(301, "usd")))
    assert fact["amount"] == 300
    with pytest.raises(ProviderUnavailableError):
        provider.refund(order(payment_id, key="another"))


def test_a_refund_that_stripe_does_not_make(fake: FakeProvider, provider: StripeProvider) -> None:
    payment_id = paid(fake, provider)
    with pytest.raises(RefundRefusedError, match="charge_already_refunded"):
        provider.refund(order(payment_id, money=Money(901, "usd")))
    with pytest.raises(RefundRefusedError, match="resource_missing"):
        provider.refund(order("pi_unknown", idempotency_key="2"))


def test_a_refund_for_which_there_is_no_money_yet_may_come_later(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    payment_id = paid(fake, provider)
    fake.trouble = lambda _: "poor"
    with pytest.raises(ProviderUnavailableError):
        provider.refund(order(payment_id))


def test_the_books_tell_what_events_tell(fake: FakeProvider, provider: StripeProvider) -> None:
    payment_id = paid(fake, provider)
    declined = provider.charge(
        a_charge(fake.customer("insufficient_funds"), idempotency_key="2"), PRICE
    )
    assert isinstance(declined, Declined)
    refund_id = fake.refund(payment_id, 300, metadata={"pgledger_refund": "r"})
    failed_id = fake.refund(payment_id, 100)
    fake.update_refund(failed_id, "failed")
    dispute_id = fake.dispute(payment_id, 600)

    since = datetime.now(UTC) - DAY
    facts = {}
    for fact in provider.facts_since(since):
        name = f"{fact['record']}_id"
        facts[fact[name]] = {key: fact[key] for key in fact if key not in {"occurred_at", name}}
        assert abs(datetime.fromisoformat(fact["occurred_at"]) - datetime.now(UTC)) < DAY
    whose = {"account_id": "a", "key": "#auto-1", "amount": 1000, "attempt": 0}
    customer = fake.objects[payment_id]["customer"]
    assert facts[payment_id] == {
        "record": "payment",
        "status": "SUCCEEDED",
        **whose,
        "paid": 900,
        "refunded": 300,
        "currency": "usd",
        "customer": customer,
    }
    assert declined.payment_id
    assert facts[declined.payment_id]["status"] == "FAILED"
    assert "refunded" not in facts[declined.payment_id]
    assert facts[refund_id]["status"] == "SUCCEEDED"
    assert facts[refund_id]["request_key"] == "r"
    assert facts[failed_id]["status"] == "FAILED"
    assert facts[dispute_id] == {
        "record": "dispute",
        "payment_id": payment_id,
        "amount": 600,
        "status": "OPEN",
        "policy": "FREEZE",
        "reason": "fraudulent",
    }
    assert len(facts) == 5
    of_one = {fact.get(f"{fact['record']}_id") for fact in provider.facts_of(payment_id)}
    assert of_one == {payment_id, refund_id, failed_id, dispute_id}


def test_the_books_tell_of_a_time(fake: FakeProvider, provider: StripeProvider) -> None:
    payment_id = paid(fake, provider)
    made = fake.objects[payment_id]["created"]

    def told(since: float, until: float | None = None) -> bool:
        return any(
            provider.facts_since(
                datetime.fromtimestamp(since, UTC),
                None if until is None else datetime.fromtimestamp(until, UTC),
            )
        )

    assert told(made)
    assert told(made + 0.5)
    assert not told(made + 1)
    assert told(made, made + 1)
    assert told(made, made + 0.5)
    assert not told(made, made)
    for naive in (datetime(2026, 1, 1), None):  # noqa: DTZ001 - what is refused
        with pytest.raises(ValueError, match="time zone"):
            list(provider.facts_since(naive or datetime.now(UTC), datetime(2026, 1, 1)))  # noqa: DTZ001


def test_the_books_tell_of_what_was_free(fake: FakeProvider, provider: StripeProvider) -> None:
    free, open_one = (
        fake.client()
        .v1.checkout.sessions.create(
            {
                "mode": "payment",
                "success_url": "https://example.com",
                "metadata": {"pgledger_account": "a", "pgledger_key": "k"},
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
        )
        .id
        for amount in (0, 900)
    )
    fake.pay(free)
    (fact,) = provider.facts_since(datetime.now(UTC) - DAY)
    assert (fact["payment_id"], fact["status"], fact["paid"]) == (free, "SUCCEEDED", 0)
    assert [fact["payment_id"] for fact in provider.facts_of(free)] == [free]
    assert list(provider.facts_of(open_one)) == []


def test_the_books_do_not_know_what_never_was(provider: StripeProvider) -> None:
    for payment_id in ("pi_unknown", "ch_unknown", "cs_unknown"):
        assert list(provider.facts_of(payment_id)) == []


def test_a_charge_without_an_intent_is_told_by_its_own_id(
    fake: FakeProvider, provider: StripeProvider
) -> None:
    charge_id = fake.objects[paid(fake, provider)]["latest_charge"]
    fake.objects[charge_id]["payment_intent"] = None
    (fact,) = provider.facts_of(charge_id)
    assert (fact["payment_id"], fact["paid"]) == (charge_id, 900)


def test_the_books_are_paged(fake: FakeProvider, provider: StripeProvider) -> None:
    customer = fake.customer()
    for number in range(205):
        provider.charge(a_charge(customer, idempotency_key=str(number)), PRICE)
    told = [fact["payment_id"] for fact in provider.facts_since(datetime.now(UTC) - DAY)]
    assert sorted(told) == sorted(intent["id"] for intent in fake.succeeded())


def test_payments_of_others_are_told_unless_they_are_to_be_ignored(fake: FakeProvider) -> None:
    customer = fake.customer()
    fake.client().v1.payment_intents.create(
        {
            "amount": 700,
            "currency": "usd",
            "customer": customer,
            "payment_method": fake.objects[customer]["invoice_settings"]["default_payment_method"],
            "confirm": True,
        }
    )
    since = datetime.now(UTC) - DAY
    for ignore_foreign, told in ((False, 1), (True, 0)):
        provider = StripeProvider(fake.client(), test_mode=True, ignore_foreign=ignore_foreign)
        assert len(list(provider.facts_since(since))) == told


@pytest.mark.parametrize("key", ["sk_live_1", "rk_live_1"])
def test_a_test_takes_no_live_key(key: str) -> None:
    for client in (key, stripe.StripeClient(key)):
        with pytest.raises(ValueError, match="a live key"):
            StripeProvider(client, test_mode=True)
        StripeProvider(client)


@pytest.mark.parametrize("key", ["sk_test_1", "rk_test_1"])
def test_test_mode_is_an_explicit_argument(key: str) -> None:
    for client in (key, stripe.StripeClient(key)):
        with pytest.raises(ValueError, match="test_mode=True"):
            StripeProvider(client)
        StripeProvider(client, test_mode=True)


@pytest.mark.parametrize("test_mode", [False, True])
def test_the_mode_of_the_answers_is_looked_at_as_well(test_mode: bool) -> None:  # noqa: FBT001
    with FakeProvider(livemode=test_mode) as fake:
        fake.api_key = "of neither mode"
        provider = StripeProvider(fake.client(), test_mode=test_mode)
        customer = fake.customer()
        with pytest.raises(ValueError, match="Stripe answers in"):
            provider.charge(a_charge(customer), PRICE)
        fake.refund(fake.pay(_session(fake)))
        with pytest.raises(ValueError, match="Stripe answers in"):
            list(provider.facts_since(datetime.now(UTC) - DAY))


def _session(fake: FakeProvider) -> str:
    return str(
        fake.client()
        .v1.checkout.sessions.create(
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
            }
        )
        .id
    )
