"""A webhook's event is believed when it is signed, and has its effect once."""

import itertools
import json
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import stripe
from psycopg.rows import DictRow
from psycopg_pool import ConnectionPool

from pgledger import Ledger, TransactionNotFoundError
from pgledger.stripe import StripeWebhook, WebhookRefusedError, facts_of
from pgledger.stripe.webhook import LARGEST_BODY
from tests.provider import FakeProvider, signature
from tests.provider_http import Json
from tests.stripe_callers import Caller, Webhook, calling, sold
from tests.support import ask, in_order, let_pass

Db = psycopg.Connection[DictRow]

BODY = json.dumps(
    {
        "id": "evt_1",
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": 1_700_000_000,
        "livemode": False,
        "data": {
            "object": {
                "id": "pi_1",
                "status": "succeeded",
                "amount_received": 900,
                "currency": "usd",
                "customer": "cus_1",
                "description": "for Jané",
                "metadata": {
                    "pgledger_account": "a",
                    "pgledger_key": "k",
                    "pgledger_credits": "1000",
                },
            }
        },
    },
    ensure_ascii=False,
)
SECRET = "whsec_of_the_tests"  # noqa: S105 - one of no account


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


@pytest.fixture(params=["sync", "async"])
def caller(request: pytest.FixtureRequest, database_url: str) -> Iterator[Caller]:
    with calling(request.param, database_url) as caller:
        yield caller


@pytest.fixture
def webhook(caller: Caller) -> Webhook:
    return caller.webhook(SECRET, test_mode=True)


@pytest.fixture
def quick(database_url: str) -> Iterator[StripeWebhook]:
    with ConnectionPool(database_url, open=False, min_size=1, max_size=8) as pool:
        yield StripeWebhook(Ledger(pool), SECRET, test_mode=True)


@pytest.fixture
def apart() -> StripeWebhook:
    """Return a webhook whose ledger cannot be reached: what is refused never asks it."""
    return StripeWebhook(Ledger(ConnectionPool(open=False)), SECRET, test_mode=True)


def ago(seconds: int) -> int:
    return int(time.time()) - seconds


def signed(body: str = BODY, secret: str = SECRET, at: int | None = None) -> str:
    return signature(body, secret, at)


def v1(header: str) -> str:
    return header.partition("v1=")[2]


def recorded(db: Db) -> dict[str, str]:
    found = db.execute("select event_id, status::text from pgledger.payment_events")
    return {row["event_id"]: row["status"] for row in found}


def balance(db: Db, account_id: str = "a") -> int:
    return int(ask(db, "get_credits", account_id=account_id)["get_credits"])


# Signatures


def test_a_signature_of_the_tests_is_one_of_the_official_library() -> None:
    at = ago(0)
    official = stripe.WebhookSignature.generate_signature_header(BODY, SECRET, at)
    assert signed(at=at) == official
    assert stripe.WebhookSignature.verify_header(BODY, signed(), SECRET, 300)


@pytest.mark.parametrize(
    ("header", "body", "secret"),
    [
        pytest.param(signed, BODY, SECRET, id="as Stripe signs"),
        pytest.param(lambda: f"{signed()},v1={'0' * 64}", BODY, SECRET, id="another v1 after"),
        pytest.param(
            lambda: f"t={ago(0)},v1={'0' * 64},v1={v1(signed(at=ago(0)))}",
            BODY,
            SECRET,
            id="another v1 before",
        ),
        pytest.param(lambda: f"{signed()},v0={'0' * 64}", BODY, SECRET, id="a v0 as well"),
        pytest.param(signed, BODY, ["whsec_new", SECRET], id="while it is rotated"),
        pytest.param(signed, BODY, [SECRET, "whsec_old"], id="after it was rotated"),
        pytest.param(lambda: signed(at=ago(200)), BODY, SECRET, id="a while ago"),
        pytest.param(lambda: signed(at=ago(-200)), BODY, SECRET, id="by a clock that is ahead"),
    ],
)
def test_a_signed_body_is_believed(
    db: Db,
    header: Callable[[], str],
    body: str,
    secret: Any,  # noqa: ANN401 - one, or several
) -> None:
    webhook = StripeWebhook(Ledger(db), secret, test_mode=True)
    event = webhook.handle(body.encode(), header())
    assert (event.event_id, event.status, event.is_new) == ("evt_1", "PROCESSED", True)
    assert balance(db) == 1000


@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param(signed, BODY.replace("1000", "9000"), id="a tampered body"),
        pytest.param(signed, BODY + " ", id="a space more"),
        pytest.param(lambda: signed(secret="whsec_of_others"), BODY, id="another's secret"),  # noqa: S106
        pytest.param(lambda: signed(at=ago(400)), BODY, id="too old"),
        pytest.param(lambda: signed(at=ago(-400)), BODY, id="of the future"),
        pytest.param(lambda: signed(at=10**30), BODY, id="of no time"),
        pytest.param(lambda: f"t={ago(0)},v1={v1(signed(at=ago(9)))}", BODY, id="another time"),
        pytest.param(lambda: signed().replace("v1=", "v0="), BODY, id="v0 only"),
        pytest.param(lambda: signed().replace("v1=", "v1="[:2] + "x="), BODY, id="no scheme"),
        pytest.param(lambda: f"v1={v1(signed())}", BODY, id="no time"),
        pytest.param(lambda: f"t=now,v1={v1(signed())}", BODY, id="a time in words"),
        pytest.param(lambda: f"t={ago(0)}", BODY, id="no signature"),
        pytest.param(lambda: f"t={ago(0)},v1=", BODY, id="an empty signature"),
        pytest.param(lambda: f"t={ago(0)},v1=\N{SNOWMAN}", BODY, id="not ASCII"),
        pytest.param(lambda: None, BODY, id="no header"),
        pytest.param(str, BODY, id="an empty header"),
        pytest.param(lambda: "garbage", BODY, id="garbage"),
        pytest.param(lambda: ",=,t,==,", BODY, id="signs only"),
        pytest.param(lambda: signed() + ",v1=0" * 10_000, BODY, id="a huge header"),
    ],
)
def test_what_is_not_signed_is_refused(
    apart: StripeWebhook, header: Callable[[], str | None], body: str
) -> None:
    with pytest.raises(WebhookRefusedError) as caught:
        apart.handle(body.encode(), header())
    assert "pi_1" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert apart.respond(body.encode(), header()) == (400, {"error": str(caught.value)})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xff\xfe", id="not UTF-8"),
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="not JSON"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'"evt_1"', id="text"),
        pytest.param(b'{"type": "a.b", "livemode": false}', id="no id"),
        pytest.param(b'{"id": 5, "type": "a.b", "livemode": false}', id="an id that is none"),
        pytest.param(b'{"id": "evt_1", "livemode": false}', id="no type"),
        pytest.param(b'{"id": "evt_1", "type": "a.b"}', id="no mode"),
        pytest.param(b'{"id": "evt_1", "type": "a.b", "livemode": null}', id="null for a mode"),
        pytest.param(b'{"id": "evt_1", "type": "a.b", "livemode": 0}', id="a number for a mode"),
    ],
)
def test_what_is_no_event_is_refused_though_it_is_signed(apart: StripeWebhook, body: bytes) -> None:
    header = signed(body.decode(errors="replace"))
    with pytest.raises(WebhookRefusedError):
        apart.handle(body, header)
    assert apart.respond(body, header)[0] == 400


def test_each_mode_takes_its_own_events_only(db: Db, caller: Caller) -> None:
    live = BODY.replace('"livemode": false', '"livemode": true')
    with pytest.raises(WebhookRefusedError, match="test mode, and this endpoint is for live"):
        caller.webhook(SECRET).handle(BODY.encode(), signed())
    with pytest.raises(WebhookRefusedError, match="live mode, and this endpoint is for test"):
        caller.webhook(SECRET, test_mode=True).handle(live.encode(), signed(live))
    assert recorded(db) == {}
    assert caller.webhook(SECRET).handle(live.encode(), signed(live)).status == "PROCESSED"


def test_what_is_refused_is_refused_by_both(caller: Caller) -> None:
    for options in ({}, {"test_mode": True}):
        webhook = caller.webhook(SECRET, **options)
        with pytest.raises(WebhookRefusedError):
            webhook.handle(BODY.encode(), signed(secret="whsec_of_others"))  # noqa: S106
        assert webhook.respond(b"{}", "t=1,v1=0")[0] == 400
        assert webhook.respond(b"x" * (LARGEST_BODY + 1), None)[0] == 413


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"secret": ""}, "secret"),
        ({"secret": " "}, "secret"),
        ({"secret": []}, "secret"),
        ({"secret": [SECRET, ""]}, "secret"),
        ({"tolerance": 0}, "tolerance"),
        ({"tolerance": -1}, "tolerance"),
        ({"tolerance": float("inf")}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"on_dispute": "IGNORE"}, "on_dispute"),
    ],
)
def test_a_webhook_is_not_set_up_unsafely(
    database_url: str, options: dict[str, Any], words: str
) -> None:
    with psycopg.connect(database_url) as connection, pytest.raises(ValueError, match=words):
        StripeWebhook(Ledger(connection), **({"secret": SECRET} | options))


def test_the_tolerance_is_as_told(caller: Caller) -> None:
    header = signed(at=ago(3000))
    webhook = caller.webhook(SECRET, test_mode=True, tolerance=3600)
    assert webhook.handle(BODY.encode(), header).status == "PROCESSED"
    assert webhook.respond(BODY.encode(), signed(at=ago(4000)))[0] == 400


# Once


def test_a_duplicate_has_no_effect_and_answers_like_the_first(db: Db, webhook: Webhook) -> None:
    first = webhook.handle(BODY.encode(), signed())
    again = webhook.handle(BODY.encode(), signed())
    let_pass(db, "1 year")
    later = webhook.handle(BODY.encode(), signed())

    assert [event.is_new for event in (first, again, later)] == [True, False, False]
    assert first.result == again.result == later.result
    assert [event.attempts for event in (first, again, later)] == [1, 1, 1]
    assert balance(db) == 1000
    assert in_order(db)


def test_the_payload_is_kept_verbatim(db: Db, webhook: Webhook) -> None:
    body = BODY.replace('"id"', ' "id" ', 1)
    webhook.handle(body.encode(), signed(body))
    (row,) = db.execute("select payload, type, occurred_at from pgledger.payment_events")
    assert (row["payload"], row["type"]) == (body, "payment_intent.succeeded")
    assert row["occurred_at"].timestamp() == 1_700_000_000


def test_what_tells_nothing_is_kept_and_ignored(db: Db, webhook: Webhook) -> None:
    body = BODY.replace("payment_intent.succeeded", "customer.created")
    for is_new in (True, False):
        event = webhook.handle(body.encode(), signed(body))
        assert (event.status, event.is_new) == ("IGNORED", is_new)
    assert recorded(db) == {"evt_1": "IGNORED"}


def test_many_at_once_have_one_effect(db: Db, quick: StripeWebhook) -> None:
    with ThreadPoolExecutor(16) as threads:
        events = list(threads.map(lambda _: quick.handle(BODY.encode(), signed()), range(64)))
    assert sorted(event.is_new for event in events) == [False] * 63 + [True]
    assert {event.status for event in events} == {"PROCESSED"}
    assert balance(db) == 1000


def test_conflicts_are_tried_again(db: Db, database_url: str) -> None:
    options = {"kwargs": {"options": "-c default_transaction_isolation=serializable"}}
    bodies = [
        BODY.replace("evt_1", f"evt_{n}").replace("pi_1", f"pi_{n}").replace('"k"', f'"k{n}"')
        for n in range(40)
    ]
    with calling("sync", database_url, **options) as caller:
        webhook = caller.webhook(SECRET, test_mode=True)

        def deliver(body: str) -> int:
            # As Stripe does: again, after what was no success.
            for _ in range(50):
                status, _answer = webhook.respond(body.encode(), signed(body))
                if status == 200:
                    return status
                assert status == 503
            return 0

        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(deliver, bodies)) == {200}
    assert balance(db) == 40_000


def test_every_order_ends_in_the_same_state(db: Db, quick: StripeWebhook) -> None:
    with FakeProvider() as fake:
        payment_id = fake.pay(sold(fake))
        fake.refund(payment_id, 300)
        fake.update_dispute(fake.dispute(payment_id, 600), "lost")
    told = [e for e in fake.told() if facts_of(e) and "funds" not in e["type"]]
    assert len(told) == 6
    # One of 23, which is prime to all the lengths of runs in the list of them.
    for number, order in enumerate(itertools.islice(itertools.permutations(told), 0, None, 23)):
        for event in order:
            body = (
                json.dumps(event)
                .replace(payment_id, f"pi_{number}")
                .replace('"a"', f'"a{number}"')
                .replace("evt_", f"evt_{number}_")
                .replace("re_", f"re_{number}_")
                .replace("dp_", f"dp_{number}_")
            )
            assert quick.handle(body.encode(), signed(body)).status == "PROCESSED"
        assert balance(db, f"a{number}") == 0, [event["type"] for event in order]
    assert in_order(db)


# What goes wrong


def a_card(account_id: str = "b") -> str:
    """Return an event about a card: that its customer is another's fails it."""
    return json.dumps(
        {
            "id": "evt_card",
            "type": "setup_intent.succeeded",
            "created": 1_700_000_000,
            "livemode": False,
            "data": {
                "object": {
                    "id": "seti_1",
                    "customer": "cus_of_a",
                    "payment_method": "pm_1",
                    "description": "Jané's card 4242",
                    "metadata": {"pgledger_account": account_id},
                }
            },
        },
        ensure_ascii=False,
    )


@pytest.fixture
def failing(db: Db) -> str:
    """Return the body of an event that fails as long as the customer is another account's."""
    for account_id in ("a", "b"):
        ask(db, "open_account", account_id=account_id)
    ask(db, "link_identifier", account_id="a", identifier="cus_of_a")
    return a_card()


def test_what_could_not_be_applied_is_kept_and_tried_again(
    db: Db, webhook: Webhook, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    event = webhook.handle(failing.encode(), signed(failing))
    assert (event.status, event.is_new, event.attempts) == ("FAILED", True, 1)
    assert event.error is not None
    assert event.error["sqlstate"] == "LG002"
    assert recorded(db) == {"evt_card": "FAILED"}

    status, answer = webhook.respond(failing.encode(), signed(failing))
    assert (status, answer) == (500, {"id": "evt_card", "status": "FAILED", "duplicate": True})
    assert webhook.process("evt_card").attempts == 3
    assert "4242" not in caplog.text + str(event.error) + str(answer)
    assert "evt_card" in caplog.text

    ask(db, "unlink_identifier", identifier="cus_of_a")
    assert webhook.process("evt_card").status == "PROCESSED"
    assert webhook.respond(failing.encode(), signed(failing)) == (
        200,
        {"id": "evt_card", "status": "PROCESSED", "duplicate": True},
    )


def test_only_what_came_is_processed_again(webhook: Webhook) -> None:
    with pytest.raises(TransactionNotFoundError):
        webhook.process("evt_never_came")


def test_an_event_is_processed_again_by_the_rules_of_now(db: Db, caller: Caller) -> None:
    foreign = BODY.replace("pgledger_", "other_")
    db.execute("alter table pgledger.payments add constraint away check (false) not valid")
    first = caller.webhook(SECRET, test_mode=True).handle(foreign.encode(), signed(foreign))
    assert first.status == "FAILED"
    ignoring = caller.webhook(SECRET, test_mode=True, ignore_foreign=True)
    assert ignoring.process("evt_1").status == "IGNORED"


def test_what_is_answered_says_nothing_of_what_came(
    webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    assert webhook.respond(BODY.encode(), signed()) == (
        200,
        {"id": "evt_1", "status": "PROCESSED", "duplicate": False},
    )
    assert webhook.respond(BODY.encode(), "t=1,v1=0") == (
        400,
        {"error": "the signature does not match, or is too old"},
    )
    assert "Jan" not in caplog.text


@pytest.mark.parametrize(("size", "status"), [(LARGEST_BODY, 400), (LARGEST_BODY + 1, 413)])
def test_a_body_above_a_mebibyte_is_not_looked_at(webhook: Webhook, size: int, status: int) -> None:
    assert webhook.respond(b"x" * size, signed())[0] == status


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_without_the_database_it_is_to_be_sent_again(
    db: Db, database_url: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "psycopg.pool")
    with calling(kind, database_url, min_size=1, max_size=1, timeout=0.3) as caller:
        webhook = caller.webhook(SECRET, test_mode=True)
        name = db.info.dbname
        assert webhook.respond(BODY.encode(), signed())[0] == 200
        with psycopg.connect(database_url, dbname="postgres", autocommit=True) as other:
            other.execute(f'alter database "{name}" allow_connections false'.encode())
            other.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
            )
            for _ in range(2):
                assert webhook.respond(BODY.encode(), signed()) == (
                    503,
                    {"error": "the database is not available"},
                )
            other.execute(f'alter database "{name}" allow_connections true'.encode())
    assert "Jan" not in caplog.text


def test_an_error_that_is_no_refusal_quotes_no_row(
    db: Db, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute("alter table pgledger.payment_events add constraint away check (false) not valid")
    assert webhook.respond(BODY.encode(), signed()) == (
        500,
        {"error": "the event could not be processed"},
    )
    assert "CheckViolation, SQLSTATE 23514" in caplog.text
    assert "Jan" not in caplog.text


def test_an_event_is_recorded_with_its_effect_or_not_at_all(db: Db, webhook: Webhook) -> None:
    db.execute("alter function pgledger.process_payment_event(text, text, jsonb) rename to away")
    assert webhook.respond(BODY.encode(), signed())[0] == 500
    assert recorded(db) == {}


def test_a_conflict_is_tried_again_at_once(db: Db, webhook: Webhook) -> None:
    db.execute("create sequence tries")
    db.execute(
        "create function fail_once() returns trigger language plpgsql as $$ begin"
        " if nextval('public.tries') = 1 then raise serialization_failure; end if;"
        " return new; end $$"
    )
    db.execute(
        "create trigger fail_once before insert on pgledger.payment_events"
        " for each row execute function fail_once()"
    )
    assert webhook.respond(BODY.encode(), signed())[0] == 200
    assert balance(db) == 1000


def test_an_id_that_the_ledger_does_not_take_is_an_error(webhook: Webhook) -> None:
    body = BODY.replace("evt_1", "e" * 2000)
    assert webhook.respond(body.encode(), signed(body))[0] == 500


# What it is told to do


@pytest.mark.parametrize(
    ("policy", "left", "account"),
    [("FLAG", 1000, "OPEN"), ("FREEZE", 1000, "FROZEN"), ("DEDUCT", 334, "OPEN")],
)
def test_an_opened_dispute_does_as_told(
    db: Db, caller: Caller, policy: str, left: int, account: str
) -> None:
    webhook = caller.webhook(SECRET, test_mode=True, on_dispute=policy)
    with FakeProvider() as fake:
        _disputed(db, webhook, fake, (left, account))


def _disputed(db: Db, webhook: Webhook, fake: FakeProvider, then: tuple[int, str]) -> None:
    payment_id = fake.pay(sold(fake))
    dispute_id = fake.dispute(payment_id, 600)
    deliver(webhook, fake)
    found = ask(db, "get_balance", account_id="a")
    assert (found["balance"], found["status"]) == then
    fake.update_dispute(dispute_id, "won")
    deliver(webhook, fake)
    found = ask(db, "get_balance", account_id="a")
    assert (found["balance"], found["status"]) == (1000, "OPEN")
    assert in_order(db)


def test_what_others_sell_is_unmatched_or_ignored(
    db: Db, caller: Caller, fake: FakeProvider
) -> None:
    fake.pay(sold(fake, metadata={"order": "7"}))
    deliver(caller.webhook(SECRET, test_mode=True, ignore_foreign=True), fake)
    assert set(recorded(db).values()) == {"IGNORED"}
    fake.pay(sold(fake, metadata={"order": "8"}))
    webhook = caller.webhook(SECRET, test_mode=True)
    deliver(webhook, fake)
    (payment,) = db.execute("select * from pgledger.list_payments(unmatched => true)")
    assert (payment["paid"], payment["account_id"]) == (900, None)


def test_a_card_on_file_is_linked(db: Db, webhook: Webhook, fake: FakeProvider) -> None:
    customer = fake.customer(None)
    fake.set_up(customer, pgledger_account="a", pgledger_credits="100")
    deliver(webhook, fake)
    found = db.execute("select kind::text, value, account_id from pgledger.account_identifiers")
    linked = {row["kind"]: row["value"] for row in found if row["account_id"] == "a"}
    assert linked.keys() == {"CUSTOMER", "PAYMENT_METHOD"}
    assert linked["CUSTOMER"] == customer
    assert balance(db) == 100


def test_a_checkout_that_expires_cancels_its_top_up(
    db: Db, webhook: Webhook, fake: FakeProvider
) -> None:
    ask(db, "top_up", account_id="a", amount=1000, key="k", is_active=False)
    fake.expire(sold(fake))
    deliver(webhook, fake)
    assert ask(db, "get_transaction", account_id="a", key="k")["status"] == "CANCELLED"


def test_money_that_comes_days_later(db: Db, webhook: Webhook, fake: FakeProvider) -> None:
    ask(db, "top_up", account_id="a", amount=1000, key="k", is_active=False)
    for succeeds in (False, True):
        payment_id = fake.pay(sold(fake), "processing")
        deliver(webhook, fake)
        assert balance(db) == 0
        fake.settle(payment_id, succeeds=succeeds)
        deliver(webhook, fake)
        assert balance(db) == (1000 if succeeds else 0)
    assert in_order(db)


def deliver(webhook: Webhook, fake: FakeProvider) -> list[Json]:
    """Deliver all that the provider told so far, again and again."""
    told = fake.told()
    for event in told:
        status, answer = webhook.respond(*fake.signed(event))
        assert status == 200, (event["type"], answer)
    return told
