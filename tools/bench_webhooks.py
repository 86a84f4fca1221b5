"""Measure webhooks, from the body that came to the commit, against the bare rows they leave."""

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, LiteralString
from uuid import uuid4

import psycopg
import stripe

from pgledger import Ledger
from pgledger.stripe import StripeWebhook

if TYPE_CHECKING:
    from tools.bench import Bench

CLIENTS = 8
EVENTS = 1200
_NAME = "webhook of a payment, handle to commit / its bare rows"
SECRET = "whsec_of_the_bench"  # noqa: S105 - one of no account

BARE_TABLES = """
create table if not exists bare.payment_events (like pgledger.payment_events including all);
create table if not exists bare.payments (like pgledger.payments including all);
create table if not exists bare.pending_transactions (
  like pgledger.pending_transactions including all);
"""

# What a payment that succeeds leaves behind, for a top-up that was announced: no more statements
# than rows, each by its key.
BARE: tuple[LiteralString, ...] = (
    """
    insert into bare.payment_events (
      provider, event_id, type, payload, status, attempts, occurred_at, received_at, processed_at)
    values ('stripe', %(event)s, 'payment_intent.succeeded', %(body)s, 'PROCESSED', 1, now(),
      now(), now())
    on conflict do nothing""",
    """
    insert into bare.payments (
      provider, payment_id, account_id, key, amount, paid, paid_currency, status, seq, created_at,
      updated_at)
    values ('stripe', %(payment)s, %(account)s, %(key)s, 1000, 900, 'usd', 'SUCCEEDED', 1, now(),
      now())
    on conflict do nothing""",
    """
    with b as (
      update bare.balances b
      set balance = b.balance + 1000, pool = b.pool + 1000, seq = b.seq + 1,
          updated_at = clock_timestamp()
      where b.account_id = %(account)s
      returning b.account_id, b.balance, b.seq, b.updated_at
    )
    insert into bare.transactions (
      account_id, seq, amount, running_balance, created_at, type, key, external_id)
    select b.account_id, b.seq, 1000, b.balance, b.updated_at, 'TOP_UP', %(key)s, %(payment)s
    from b""",
    """
    update bare.pending_transactions p set status = 'ENABLED'
    where p.account_id = %(account)s and p.key = %(key)s""",
)


def compare_webhooks(bench: "Bench") -> None:
    """Measure the rate of webhooks against that of the bare statements, one client and eight."""
    if bench.only not in _NAME:
        return
    with psycopg.connect(bench.url, autocommit=True) as connection:
        connection.execute(BARE_TABLES)
    for clients in (1, CLIENTS):
        bench.compare_runs(
            _NAME,
            lambda clients=clients: rate(bench.url, clients, by_webhook)[0],  # type: ignore[misc]
            lambda clients=clients: rate(bench.url, clients, by_bare_statements)[0],  # type: ignore[misc]
            goal=None,
            clients=clients,
        )


def times(url: str) -> dict[str, float]:
    """Return how long one webhook takes, and how many a second eight connections get done."""
    _, latencies = rate(url, 1, by_webhook)
    per_second, _ = rate(url, CLIENTS, by_webhook)
    return {
        "webhook_median_ms": round(1000 * statistics.median(latencies), 2),
        "webhooks_per_second_from_8": round(per_second),
    }


def rate(
    url: str,
    clients: int,
    prepare: Callable[[psycopg.Connection, str], Iterator[Callable[[], object]]],
) -> tuple[float, list[float]]:
    """Return how many a second are done by so many connections, and how long each one took."""
    latencies: list[float] = []
    start = threading.Barrier(clients + 1)

    def work(todo: list[Callable[[], object]]) -> None:
        start.wait()
        for one in todo:
            began = time.perf_counter()
            one()
            latencies.append(time.perf_counter() - began)

    with ExitStack() as stack:
        threads = []
        for _ in range(clients):
            connection = stack.enter_context(psycopg.connect(url, autocommit=True))
            todo = [
                one for _ in range(EVENTS // clients) for one in prepare(connection, uuid4().hex)
            ]
            threads.append(threading.Thread(target=work, args=(todo,)))
        for thread in threads:
            thread.start()
        start.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
    return len(latencies) / elapsed, latencies


def event(account: str, number: str) -> str:
    """Return the body of an event as large as Stripe's are."""
    return json.dumps(
        {
            "id": f"evt_{number}",
            "object": "event",
            "api_version": stripe.api_version,
            "created": int(time.time()),
            "livemode": True,
            "type": "payment_intent.succeeded",
            "data": {
                "object": {
                    "id": f"pi_{number}",
                    "object": "payment_intent",
                    "amount": 900,
                    "amount_received": 900,
                    "currency": "usd",
                    "status": "succeeded",
                    "metadata": {
                        "pgledger_account": account,
                        "pgledger_key": number,
                        "pgledger_credits": "1000",
                    },
                    "what_else_is_in_one": ["x" * 60 for _ in range(40)],
                }
            },
        },
        indent=2,
    )


def by_webhook(connection: psycopg.Connection, number: str) -> Iterator[Callable[[], object]]:
    """Announce a top-up, and yield what handles the event of its payment."""
    ledger = Ledger(connection)
    account = f"payer-{int(number, 16) % 500}"
    ledger.top_up(account, 1000, key=number, is_active=False)
    webhook = StripeWebhook(ledger, SECRET, tolerance=3600)
    body = event(account, number)
    at = int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{at}.{body}", SECRET)  # noqa: SLF001

    def handle() -> None:
        handled = webhook.handle(body.encode(), f"t={at},v1={signature}")
        if handled.status != "PROCESSED" or not handled.is_new:
            raise SystemExit(f"a webhook was {handled.status}: {handled.error}")

    yield handle


def by_bare_statements(
    connection: psycopg.Connection, number: str
) -> Iterator[Callable[[], object]]:
    """Announce a top-up, and yield what writes the rows of its payment in one transaction."""
    account = f"user-{int(number, 16) % 500 + 1}"
    connection.execute(
        "insert into bare.pending_transactions select (jsonb_populate_record("
        " null::bare.pending_transactions, to_jsonb(p) || jsonb_build_object("
        " 'account_id', %s::text, 'key', %s::text))).*"
        " from pgledger.pending_transactions p limit 1",
        [account, number],
    )
    given = {
        "event": f"evt_{number}",
        "payment": f"pi_{number}",
        "account": account,
        "key": number,
        "body": event(account, number),
    }

    def write() -> None:
        with connection.transaction():
            for statement in BARE:
                connection.execute(statement, given)

    yield write
