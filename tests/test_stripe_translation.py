"""What Stripe tells, as facts: whatever version of its API, whatever it leaves out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pgledger.payments import Fact
from pgledger.stripe.translation import EVENT_TYPES, facts_of
from tests.provider import FakeProvider
from tests.provider_http import Json

OURS = {"pgledger_account": "a", "pgledger_key": "k", "pgledger_credits": "1000"}
WHOSE = {"account_id": "a", "key": "k", "amount": 1000}
AT = 1_700_000_000
THEN = "2023-11-14T22:13:20+00:00"


def event(kind: str, **found: Any) -> Json:  # noqa: ANN401 - any JSON
    return {
        "id": "evt_1",
        "object": "event",
        "created": AT,
        "livemode": True,
        "type": kind,
        "data": {"object": {"id": "x_1", "metadata": {}} | found},
    }


def facts(kind: str, **found: Any) -> list[Fact]:  # noqa: ANN401 - any JSON
    return facts_of(event(kind, **found))


def fact(kind: str, **found: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any JSON
    (only,) = facts(kind, **found)
    return only


SESSION: Json = {
    "id": "cs_1",
    "mode": "payment",
    "payment_intent": "pi_1",
    "payment_status": "paid",
    "amount_total": 900,
    "currency": "usd",
    "customer": "cus_1",
    "metadata": OURS,
}
INTENT: Json = {
    "id": "pi_1",
    "status": "succeeded",
    "amount": 900,
    "amount_received": 900,
    "currency": "usd",
    "customer": "cus_1",
    "metadata": OURS | {"pgledger_attempt": "2"},
}
CHARGE: Json = {
    "id": "ch_1",
    "payment_intent": "pi_1",
    "status": "succeeded",
    "captured": True,
    "amount": 1000,
    "amount_captured": 900,
    "amount_refunded": 300,
    "currency": "usd",
    "customer": "cus_1",
    "metadata": OURS,
}
PAID = {
    "record": "payment",
    "payment_id": "pi_1",
    "status": "SUCCEEDED",
    **WHOSE,
    "paid": 900,
    "currency": "usd",
    "customer": "cus_1",
    "occurred_at": THEN,
}


@pytest.mark.parametrize(
    "kind", ["checkout.session.completed", "checkout.session.async_payment_succeeded"]
)
def test_a_session_that_is_paid(kind: str) -> None:
    assert fact(kind, **SESSION) == PAID


def test_a_session_completed_before_its_money_came() -> None:
    told = fact("checkout.session.completed", **SESSION | {"payment_status": "unpaid"})
    assert (told["status"], "paid" in told) == ("PROCESSING", False)


def test_the_money_of_a_session_that_came_later_is_not_judged_by_its_payment_status() -> None:
    told = fact(
        "checkout.session.async_payment_succeeded", **SESSION | {"payment_status": "unpaid"}
    )
    assert (told["status"], told["paid"]) == ("SUCCEEDED", 900)


def test_a_session_with_nothing_to_pay_is_known_by_its_own_id() -> None:
    told = fact(
        "checkout.session.completed",
        **SESSION
        | {"payment_intent": None, "payment_status": "no_payment_required", "amount_total": 0},
    )
    assert (told["payment_id"], told["status"], told["paid"]) == ("cs_1", "SUCCEEDED", 0)


def test_a_session_whose_money_never_came() -> None:
    failed, cancelled = facts("checkout.session.async_payment_failed", **SESSION)
    assert (failed["status"], failed["reason"]) == ("FAILED", "async_payment_failed")
    assert "paid" not in failed
    assert cancelled == {
        "record": "cancellation",
        "account_id": "a",
        "key": "k",
        "reason": "async_payment_failed",
    }


def test_a_session_that_expired() -> None:
    expired = SESSION | {"payment_intent": None, "payment_status": "unpaid"}
    assert fact("checkout.session.expired", **expired) == {
        "record": "cancellation",
        "account_id": "a",
        "key": "k",
        "reason": "checkout_expired",
    }
    for missing in ("pgledger_account", "pgledger_key"):
        metadata = {name: value for name, value in OURS.items() if name != missing}
        assert facts("checkout.session.expired", **expired | {"metadata": metadata}) == []


@pytest.mark.parametrize("mode", ["subscription", "setup", None])
@pytest.mark.parametrize(
    "kind",
    [
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.expired",
    ],
)
def test_sessions_of_another_mode_sell_no_credits(kind: str, mode: str | None) -> None:
    assert facts(kind, **SESSION | {"mode": mode}) == []


def test_a_payment_that_succeeded() -> None:
    assert fact("payment_intent.succeeded", **INTENT) == PAID | {"attempt": 2}


def test_the_money_that_came_counts_not_what_was_asked() -> None:
    assert fact("payment_intent.succeeded", **INTENT | {"amount_received": 800})["paid"] == 800


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ({"code": "card_declined", "decline_code": "insufficient_funds"}, "insufficient_funds"),
        ({"code": "authentication_required"}, "authentication_required"),
        ({"type": "api_error"}, "api_error"),
        ({"message": "Jane's card was declined"}, "failed"),
        ({"code": "Jane Doe, 4242 4242 4242 4242", "type": 7}, "failed"),
    ],
)
def test_a_payment_that_failed_says_why_in_a_word(error: Json, reason: str) -> None:
    told = fact(
        "payment_intent.payment_failed",
        **INTENT | {"status": "requires_payment_method", "last_payment_error": error},
    )
    assert (told["status"], told["reason"], "paid" in told) == ("FAILED", reason, False)
    assert told["attempt"] == 2


def test_a_payment_that_is_processing() -> None:
    told = fact("payment_intent.processing", **INTENT | {"status": "processing"})
    assert (told["status"], "paid" in told, "reason" in told) == ("PROCESSING", False, False)


def test_a_payment_that_was_called_off() -> None:
    told = fact("payment_intent.canceled", **INTENT | {"status": "canceled"})
    assert (told["status"], told["reason"]) == ("FAILED", "canceled")


def test_a_payment_that_nobody_tried_to_pay_says_nothing() -> None:
    untried = INTENT | {"status": "requires_payment_method", "last_payment_error": None}
    assert facts("payment_intent.payment_failed", **untried) == []


def test_a_charge_that_was_refunded_tells_the_sum() -> None:
    assert fact("charge.refunded", **CHARGE) == PAID | {"refunded": 300}


def test_a_charge_of_before_partial_captures_tells_its_amount() -> None:
    old = {name: value for name, value in CHARGE.items() if name != "amount_captured"}
    assert fact("charge.refunded", **old)["paid"] == 1000


def test_a_charge_without_an_intent_is_the_payment() -> None:
    assert fact("charge.refunded", **CHARGE | {"payment_intent": None})["payment_id"] == "ch_1"


def test_refunds_that_a_charge_lists_are_told_first() -> None:
    listed = {
        "object": "list",
        "data": [
            {"id": "re_1", "amount": 300, "status": "succeeded", "payment_intent": "pi_1"},
            {"amount": 300, "status": "succeeded", "payment_intent": "pi_1"},
            None,
        ],
    }
    one, sum_of_all = facts("charge.refunded", **CHARGE | {"refunds": listed})
    assert one == {
        "record": "refund",
        "refund_id": "re_1",
        "payment_id": "pi_1",
        "amount": 300,
        "status": "SUCCEEDED",
        "occurred_at": THEN,
    }
    assert sum_of_all["refunded"] == 300


@pytest.mark.parametrize("different", [{"captured": False}, {"status": "failed"}])
def test_an_authorisation_that_was_let_go_is_no_payment(different: Json) -> None:
    assert facts("charge.refunded", **CHARGE | different) == []


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("pending", "PENDING"),
        ("requires_action", "PENDING"),
        (None, "PENDING"),
        ("succeeded", "SUCCEEDED"),
        ("failed", "FAILED"),
        ("canceled", "FAILED"),
    ],
)
@pytest.mark.parametrize(
    "kind", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"]
)
def test_a_refund(kind: str, status: str | None, told: str) -> None:
    metadata = {"pgledger_refund": "r", "pgledger_account": "a"}
    found = {"id": "re_1", "amount": 300, "payment_intent": "pi_1", "charge": "ch_1"}
    assert fact(kind, **found, status=status, metadata=metadata) == {
        "record": "refund",
        "refund_id": "re_1",
        "payment_id": "pi_1",
        "amount": 300,
        "status": told,
        "request_key": "r",
        "account_id": "a",
        "occurred_at": THEN,
    }


def test_a_refund_of_a_charge_without_an_intent() -> None:
    found = {"id": "re_1", "amount": 300, "payment_intent": None, "charge": "ch_1"}
    assert fact("refund.created", **found)["payment_id"] == "ch_1"
    assert facts("refund.created", **found | {"charge": None}) == []
    assert facts("refund.created", **found | {"amount": None}) == []


@pytest.mark.parametrize(
    ("status", "told", "policy"),
    [
        ("needs_response", "OPEN", "DEDUCT"),
        ("under_review", "OPEN", "DEDUCT"),
        ("something_new", "OPEN", "DEDUCT"),
        ("won", "WON", "DEDUCT"),
        ("lost", "LOST", "DEDUCT"),
        ("appeal_needs_response", "LOST", "DEDUCT"),
        ("appeal_under_review", "LOST", "DEDUCT"),
        ("charge_refunded", "WON", "DEDUCT"),
        ("warning_needs_response", "OPEN", "FLAG"),
        ("warning_under_review", "OPEN", "FLAG"),
        ("warning_closed", "WON", "FLAG"),
        ("prevented", "WON", "FLAG"),
    ],
)
@pytest.mark.parametrize(
    "what", ["created", "updated", "closed", "funds_withdrawn", "funds_reinstated"]
)
def test_a_dispute(what: str, status: str, told: str, policy: str) -> None:
    found = event(
        f"charge.dispute.{what}",
        id="dp_1",
        amount=900,
        payment_intent="pi_1",
        charge="ch_1",
        reason="fraudulent",
        status=status,
    )
    assert facts_of(found, on_dispute="DEDUCT", ignore_foreign=True) == [
        {
            "record": "dispute",
            "dispute_id": "dp_1",
            "payment_id": "pi_1",
            "amount": 900,
            "status": told,
            "policy": policy,
            "reason": "fraudulent",
            "occurred_at": THEN,
        }
    ]


def test_a_dispute_of_a_charge_without_an_intent() -> None:
    found = {"amount": 900, "charge": "ch_1", "reason": "Jane says so", "status": "lost"}
    told = fact("charge.dispute.closed", **found)
    assert (told["payment_id"], told["policy"], "reason" in told) == ("ch_1", "FREEZE", False)
    assert facts("charge.dispute.closed", **found | {"charge": None}) == []
    assert facts("charge.dispute.closed", **found | {"amount": None}) == []


def test_a_card_put_on_file() -> None:
    found = {"id": "seti_1", "customer": "cus_1", "payment_method": "pm_1"}
    assert fact("setup_intent.succeeded", **found, metadata=OURS) == {
        "record": "card_check",
        "check_id": "seti_1",
        **WHOSE,
        "customer": "cus_1",
        "payment_method": "pm_1",
    }
    assert facts("setup_intent.succeeded", **found, metadata={"pgledger_key": "k"}) == []


def test_objects_in_the_place_of_ids_are_read() -> None:
    expanded = {"payment_intent": {"id": "pi_1"}, "customer": {"id": "cus_1"}}
    assert fact("checkout.session.completed", **SESSION | expanded) == PAID


def test_payments_that_are_not_ours_are_told_unless_they_are_to_be_ignored() -> None:
    foreign = event("payment_intent.succeeded", **INTENT | {"metadata": {"order_id": "7"}})
    (told,) = facts_of(foreign)
    assert {"account_id", "key", "amount"}.isdisjoint(told)
    assert facts_of(foreign, ignore_foreign=True) == []
    for name in ("pgledger_account", "pgledger_key"):
        ours = event("payment_intent.succeeded", **INTENT | {"metadata": {name: "x"}})
        assert len(facts_of(ours, ignore_foreign=True)) == 1


@pytest.mark.parametrize(
    ("kind", "found"),
    [("charge.refunded", CHARGE), ("checkout.session.completed", SESSION)],
)
def test_all_that_carries_metadata_can_be_ignored(kind: str, found: Json) -> None:
    assert facts_of(event(kind, **found | {"metadata": {}}), ignore_foreign=True) == []


def test_what_a_clerk_gave_back_is_never_ignored() -> None:
    found = event("refund.created", id="re_1", amount=1, payment_intent="pi_1")
    assert len(facts_of(found, ignore_foreign=True)) == 1


@pytest.mark.parametrize(
    ("credits_", "amount"),
    [("1000", 1000), ("0", None), ("-1", None), ("1e3", None), ("٣", None), ("", None), (7, None)],
)
def test_credits_are_a_whole_number_or_nothing(credits_: object, amount: int | None) -> None:
    metadata = OURS | {"pgledger_credits": credits_}
    assert fact("payment_intent.succeeded", **INTENT | {"metadata": metadata}).get("amount") == (
        amount
    )


def test_the_first_attempt_is_told_as_well() -> None:
    metadata = OURS | {"pgledger_attempt": "0"}
    assert fact("payment_intent.succeeded", **INTENT | {"metadata": metadata})["attempt"] == 0


@pytest.mark.parametrize("created", [None, "1700000000", 1.5, True, -1, 10**20])
def test_a_time_that_cannot_be_read_is_left_out(created: object) -> None:
    (told,) = facts_of(event("payment_intent.succeeded", **INTENT) | {"created": created})
    assert "occurred_at" not in told


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"type": "payment_intent.succeeded"},
        {"type": "payment_intent.succeeded", "data": []},
        {"type": "payment_intent.succeeded", "data": {"object": "pi_1"}},
        {"type": "payment_intent.succeeded", "data": {"object": {"status": "succeeded"}}},
        {"type": "charge.dispute.created", "data": {"object": {"amount": 1}}},
        {"type": ["payment_intent.succeeded"], "data": {"object": {"id": "pi_1"}}},
        {"object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered", "id": "e"},
    ],
)
def test_what_is_no_event_tells_nothing(broken: Json) -> None:
    assert facts_of(broken) == []


@pytest.mark.parametrize("text", ["", "a\x00", "\ud800"])
def test_text_that_no_database_can_hold_is_left_out(text: str) -> None:
    metadata = {"pgledger_account": text, "pgledger_key": "k"}
    told = fact("payment_intent.succeeded", **INTENT | {"metadata": metadata, "customer": text})
    assert {"account_id", "customer"}.isdisjoint(told)
    assert told["key"] == "k"


def test_fields_of_another_type_are_left_out() -> None:
    odd = INTENT | {"amount_received": True, "currency": 5, "customer": [], "metadata": "none"}
    assert fact("payment_intent.succeeded", **odd) == {
        "record": "payment",
        "payment_id": "pi_1",
        "status": "SUCCEEDED",
        "occurred_at": THEN,
    }


def _bought(provider: FakeProvider) -> str:
    session = provider.client().v1.checkout.sessions.create(
        {
            "mode": "payment",
            "success_url": "https://example.com",
            "metadata": OURS,
            "payment_intent_data": {"metadata": OURS},
            "line_items": [
                {
                    "price_data": {
                        "currency": "usd",
                        "unit_amount": 900,
                        "product_data": {"name": "1000 credits"},
                    },
                    "quantity": 1,
                }
            ],
        }
    )
    return session.id


@pytest.mark.parametrize("old", [False, True])
def test_a_purchase_tells_the_same_in_every_version(old: bool) -> None:  # noqa: FBT001
    with FakeProvider(old=old) as provider:
        payment_id = provider.pay(_bought(provider), customer=provider.customer())
        provider.refund(payment_id, 300)
        provider.update_dispute(provider.dispute(payment_id, 600), "won")
    told = [found for event in provider.told() for found in facts_of(event)]

    assert {found["payment_id"] for found in told} == {payment_id}
    paid = [found for found in told if found["record"] == "payment"]
    assert {found["status"] for found in paid} == {"SUCCEEDED"}
    assert {(found["account_id"], found["key"], found["amount"]) for found in paid} == {
        ("a", "k", 1000)
    }
    assert {found["paid"] for found in paid} == {900}
    assert {found["amount"] for found in told if found["record"] == "refund"} == {300}
    assert [found["status"] for found in told if found["record"] == "dispute"] == [
        *("OPEN", "OPEN"),
        *("WON", "WON"),
    ]
    assert json.loads(json.dumps(told)) == told


def test_every_type_that_is_read_is_one_that_stripe_sends() -> None:
    stripe = pytest.importorskip("stripe")
    types = Path(stripe.__file__).parent / "params" / "_webhook_endpoint_create_params.py"
    known = types.read_text()
    assert [kind for kind in EVENT_TYPES if f'"{kind}"' not in known] == []


def test_the_reason_of_a_failure_never_is_a_message() -> None:
    error = {"message": "Jane", "param": "Jane", "payment_method": {"name": "Jane"}}
    told = fact(
        "payment_intent.payment_failed",
        **INTENT | {"status": "requires_payment_method", "last_payment_error": error},
    )
    assert "Jane" not in json.dumps(told)
