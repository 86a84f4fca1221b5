"""The main job as a story: credits are bought, held, spent, taken back, and accounted for.

It posts what can never be deleted, so it is for a database of its own. Time passes in it as it does
elsewhere: credits that end in three seconds are waited for.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import takewhile
from typing import Any, Literal, TypeVar

import psycopg
from psycopg.types.json import Jsonb

from pgledger import calls
from pgledger.calls import BatchItem, Call
from pgledger.client import AsyncLedger, Ledger
from pgledger.errors import LedgerError, refusal_of
from pgledger.payments import Done, LocalProvider, Money, TopUpWorker
from pgledger.pricing import show
from pgledger.records import Balance, Payment, Posting, Shortfall, Transaction

ACCOUNT = "alice"
# Who pays by the token.
TOKENS = "bob"
MODEL = "gpt-large"
# Who pays by card.
PAYER = "carol"
# Who is charged in one call.
CROWD = 300
# Who spends from one account at once: how many tasks, each how often, on how many connections.
TASKS = 256
SPENDS = 4
CONNECTIONS = 8
# How much of the journal is shown after a step.
SHOWN = 3
# How much of a list is shown in a call, and what stands for the rest.
SPELLED = 2
MORE = "..."
Chapter = Iterator[tuple[str, Sequence["Deed"]]]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Deed:
    """One call as a client makes it in SQL, and what came of it."""

    call: str
    answer: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the story; ``history`` is the end of the journal after it, newest first."""

    title: str
    deeds: Sequence[Deed]
    history: Sequence[Transaction]
    balance: Balance


def story(ledger: Ledger, database_url: str) -> Iterator[Step]:
    """Live through the story on ``ledger``, a step at a time; many tasks connect by the URL."""
    chapters: Sequence[tuple[str, Sequence[Callable[[Ledger], Chapter]]]] = (
        (
            ACCOUNT,
            (_bought, _spent, _streamed, _topped_up, _short, _charged_back, _expired, _planned),
        ),
        (TOKENS, (_priced, _streamed_by_the_token)),
        (PAYER, (_paid,)),
    )
    for account, of_account in chapters:
        for chapter in of_account:
            for title, deeds in chapter(ledger):
                yield Step(
                    title,
                    deeds,
                    ledger.history(account, limit_count=SHOWN),
                    ledger.get_balance(account),
                )
    for title, deeds in (
        _posted_at_once(ledger),
        _spent_by_many(ledger, database_url),
        _explained(ledger),
    ):
        yield Step(title, deeds, [], ledger.get_balance(ACCOUNT))


def _bought(ledger: Ledger) -> Chapter:
    yield (
        "Alice buys credits, which opens her account.",
        [_post(ledger, calls.top_up(ACCOUNT, 1000, key="order-1"))],
    )
    enable = calls.enable_transaction(ACCOUNT, "order-2", external_id="pi_42")
    yield (
        "A payment is announced; webhook and success page both enable it: paid once.",
        [
            _post(ledger, calls.top_up(ACCOUNT, 500, key="order-2", is_active=False)),
            _post(ledger, enable),
            _post(ledger, enable),
        ],
    )


def _spent(ledger: Ledger) -> Chapter:
    first = calls.spend(ACCOUNT, 120, key="msg-1", reference="chat-1")
    yield (
        "She spends; each spend names the chat it belongs to.",
        [
            _post(ledger, first),
            _post(ledger, calls.spend(ACCOUNT, 80, key="msg-2", reference="chat-1")),
            _post(ledger, calls.spend(ACCOUNT, 300, key="msg-3", reference="chat-2")),
        ],
    )
    yield (
        "The network fails, the client tries again with the same key: charged once.",
        [_post(ledger, first)],
    )


def _streamed(ledger: Ledger) -> Chapter:
    yield (
        "An answer streams. What it costs is not known, so an estimate is held.",
        [_post(ledger, calls.hold(ACCOUNT, 400, key="msg-4", reference="chat-2"))],
    )
    yield (
        "It is done: its cost is captured, once, and the rest is free again.",
        [
            _post(ledger, calls.capture(ACCOUNT, "msg-4", amount=180)),
            _post(ledger, calls.capture(ACCOUNT, "msg-4", amount=180)),
        ],
    )


def _topped_up(ledger: Ledger) -> Chapter:
    settings = calls.set_auto_top_up(ACCOUNT, 200, 800)
    set_up = ledger.run(settings)
    spent = _post(ledger, calls.spend(ACCOUNT, 700, key="job-1", reference="report-7"))
    claim = calls.claim_events()
    (event,) = ledger.run(claim)
    asked = ", ".join(f"{name} {event.payload[name]}" for name in ("key", "amount", "available"))
    acknowledge = calls.ack_events([event.account_id], [event.seq])
    yield (
        "She sets an auto-top-up. The spend that leaves less than 200 asks for it.",
        [
            Deed(spelled(settings), f"{set_up.mode}: below {set_up.threshold}, {set_up.amount}"),
            spent,
            Deed(spelled(claim), f"{event.kind}: {asked}"),
            Deed(spelled(acknowledge), f"{ledger.run(acknowledge)} handled"),
        ],
    )
    yield (
        "Her card is charged, and what was asked for is enabled.",
        [
            _post(
                ledger,
                calls.enable_transaction(ACCOUNT, str(event.payload["key"]), external_id="pi_43"),
            )
        ],
    )


def _short(ledger: Ledger) -> Chapter:
    yield (
        "More than she has is refused in exact figures, or spent as far as it goes.",
        [
            _post(ledger, calls.spend(ACCOUNT, 1500, key="job-2", reference="report-8")),
            _post(
                ledger,
                calls.spend(ACCOUNT, 1500, key="job-2", reference="report-8", shortfall="PARTIAL"),
            ),
        ],
    )


def _charged_back(ledger: Ledger) -> Chapter:
    yield (
        "Her bank takes a payment back. Its credits are spent: that leaves a debt.",
        [
            _post(
                ledger,
                calls.refund(
                    ACCOUNT,
                    "order-2",
                    key="dispute-1",
                    external_id="dp_1",
                    fail_insufficient_credits=False,
                ),
            ),
            _post(ledger, calls.spend(ACCOUNT, 10, key="msg-5", reference="chat-3")),
        ],
    )
    yield (
        "She ran out, so a top-up was asked for; paid now, it clears the debt.",
        [
            _post(ledger, calls.enable_transaction(ACCOUNT, "#auto-2", external_id="pi_44")),
            _post(ledger, calls.spend(ACCOUNT, 10, key="msg-5", reference="chat-3")),
        ],
    )


def _expired(ledger: Ledger) -> Chapter:
    # Whole seconds read better; between two and three of them are left.
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    spend = calls.spend(ACCOUNT, 30, key="msg-6", reference="chat-3")
    paid_by = calls.explain_transaction(ACCOUNT, "msg-6")
    yield (
        "She is granted a trial that ends in three seconds. What ends first is spent first.",
        [
            _post(ledger, calls.grant_credits(ACCOUNT, 100, key="trial-1", expires_at=expires_at)),
            _post(ledger, spend),
            Deed(
                spelled(paid_by),
                "; ".join(
                    f"{draw.amount} from {draw.lot_key}: {draw.reason}"
                    for draw in ledger.run(paid_by)
                ),
            ),
        ],
    )
    while datetime.now(UTC) <= expires_at:
        time.sleep(0.05)
    left = calls.get_credits(ACCOUNT)
    yield (
        "Three seconds later the rest is gone. Nothing ran: her next movement posts it.",
        [
            Deed(spelled(left), f"{ledger.run(left)} available"),
            _post(ledger, calls.spend(ACCOUNT, 20, key="msg-7", reference="chat-3")),
        ],
    )


def _planned(ledger: Ledger) -> Chapter:
    create = calls.create_plan("pro", 300, "1 month", "RESET")
    created = ledger.run(create)
    assign = calls.assign_plan(ACCOUNT, "pro")
    assigned = ledger.run(assign)
    yield (
        "A plan gives her 300 a month that do not roll over: a lot that ends with its month.",
        [
            Deed(
                spelled(create),
                f"{created.policy}: {created.amount} each {created.period.removeprefix('1 ')}",
            ),
            Deed(spelled(assign), f"granted; again on {assigned.refill_at:%Y-%m-%d}"),
            _post(ledger, calls.spend(ACCOUNT, 50, key="msg-8", reference="chat-3")),
        ],
    )


def _priced(ledger: Ledger) -> Chapter:
    bought = _post(ledger, calls.top_up(TOKENS, 500, key="order-1"))
    prices = {"input_token": Decimal("0.015"), "output_token": Decimal("0.12")}
    sell = calls.set_price(MODEL, prices)
    ledger.run(sell)
    spent = _post(ledger, calls.spend_usage(TOKENS, MODEL, _tokens(345), key="msg-1"))
    look = calls.get_transaction(TOKENS, "msg-1")
    found = ledger.run(look)
    yield (
        "Bob pays by the token, at prices in fractions of a credit.",
        [
            bought,
            Deed(spelled(sell), "holds from now on; a sum is rounded up"),
            spent,
            Deed(spelled(look), _reckoned(found) if found else ""),
        ],
    )


def _streamed_by_the_token(ledger: Ledger) -> Chapter:
    def hold(key: str, expires_at: datetime | None = None) -> Deed:
        held = calls.hold_usage(TOKENS, MODEL, _tokens(1000), key=key, expires_at=expires_at)
        return _post(ledger, held)

    def capture(key: str, tokens: int, shortfall: Shortfall | None = None) -> Deed:
        return _post(ledger, calls.capture_usage(TOKENS, key, _tokens(tokens), shortfall=shortfall))

    yield (
        "An answer streams: an estimate is held, and the tokens that came captured.",
        [hold("msg-2"), capture("msg-2", 650)],
    )
    yield (
        "His browser goes away half way: what was delivered is captured, no more.",
        [hold("msg-3"), capture("msg-3", 150)],
    )
    # Whole seconds read better; between one and two of them are left.
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    held = hold("msg-4", expires_at)
    while datetime.now(UTC) <= expires_at:
        time.sleep(0.05)
    left = calls.get_credits(TOKENS)
    yield (
        "A program dies half way: its hold ends by itself, and nothing is charged.",
        [held, Deed(spelled(left), f"{ledger.run(left)} available"), capture("msg-4", 150)],
    )
    yield (
        (
            "An answer costs more than its hold. What is above it is a spend of its own: one that "
            "is refused, or one that goes as far as his credits."
        ),
        [hold("msg-5"), capture("msg-5", 3000), capture("msg-5", 3000, "PARTIAL")],
    )


def _paid(ledger: Ledger) -> Chapter:
    provider = LocalProvider()
    announce = calls.create_top_up(PAYER, 1000, key="order-1", price=900, price_currency="usd")
    charge = ledger.run(announce)
    asked = Deed(
        spelled(announce), f"{charge.status} {charge.amount:+} for {charge.price} cents; go and pay"
    )
    told = provider.pay(charge)
    payment = calls.record_payment(
        provider.name,
        told["payment_id"],
        told["status"],
        account_id=PAYER,
        key=told["key"],
        paid=told["paid"],
        currency=told["currency"],
    )
    yield (
        "Carol buys at a checkout. Webhooks tell that she paid, twice: credited once.",
        [asked, _told(ledger, payment), _told(ledger, payment)],
    )

    settings = calls.set_auto_top_up(PAYER, 200, 500)
    ledger.run(settings)
    yield (
        "Below 200 credits her card is charged by a worker, under a key of the charge.",
        [
            Deed(spelled(settings), "INTENT: below 200, 500"),
            _post(ledger, calls.spend(PAYER, 900, key="job-1")),
            _worked(ledger, provider),
        ],
    )
    provider.decline(PAYER)
    yield (
        "The next time her card is declined. It is tried again, three times, then no more.",
        [_post(ledger, calls.spend(PAYER, 450, key="job-2")), _worked(ledger, provider)],
    )
    yield from _returned(ledger, provider)


def _returned(ledger: Ledger, provider: LocalProvider) -> Chapter:
    request = calls.request_refund(PAYER, "order-1", amount=100, key="refund-1", tolerance=0)
    asked = ledger.run(request)
    yield (
        "She wants 100 back, which are not spent: approved at once, and the money returned.",
        [
            Deed(spelled(request), f"{asked.status}: {asked.amount} credits, {asked.money} cents"),
            _worked(ledger, provider),
        ],
    )
    charged = ledger.get_transaction(PAYER, "#auto-1")
    payment_id = charged.external_id if charged and charged.external_id else ""

    def dispute(status: Literal["OPEN", "WON"]) -> Deed:
        fact = provider.dispute(payment_id, status=status)
        call = calls.record_dispute(
            provider.name, fact["dispute_id"], payment_id, fact["amount"], status
        )
        disputed = ledger.run(call).disputed
        now = ledger.get_balance(PAYER)
        return Deed(spelled(call), f"{disputed} cents disputed; {PAYER} is {now.status}")

    yield (
        "Her bank disputes a payment, which freezes her account; it is won, and she goes on.",
        [
            dispute("OPEN"),
            _post(ledger, calls.spend(PAYER, 10, key="job-3")),
            dispute("WON"),
            _post(ledger, calls.spend(PAYER, 10, key="job-3")),
        ],
    )


def _told(ledger: Ledger, call: Call[Payment]) -> Deed:
    before = ledger.get_credits(PAYER)
    payment = ledger.run(call)
    credited = ledger.get_credits(PAYER) - before
    answer = f"POSTED {credited:+}" if credited else "told before, nothing changed"
    return Deed(spelled(call), f"{payment.status}: {answer}; {before + credited} available")


def _worked(ledger: Ledger, provider: LocalProvider) -> Deed:
    done: list[Done] = []
    TopUpWorker(
        ledger,
        provider,
        price=lambda charge: Money(charge.amount * 9 // 10, "usd"),
        refunder=provider,
        concurrency=1,
        tell=done.append,
    ).run_once()
    answers = [
        f"{one.what} {one.key}: {one.amount} credits"
        + (f" for {one.money.amount} cents" if one.money else f", {one.reason}; again in an hour")
        for one in done
    ]
    return Deed(
        f"TopUpWorker(ledger, provider, price={MORE}, refunder=provider).run_once()",
        f"{'; '.join(answers)}; {ledger.get_credits(PAYER)} available",
    )


def _posted_at_once(ledger: Ledger) -> tuple[str, Sequence[Deed]]:
    users = [f"user-{number}" for number in range(1, CROWD + 1)]
    grants = [BatchItem(user, 20, "GRANT", key="welcome") for user in users]
    # One of them has used more than he has.
    spends = [
        BatchItem(user, -25 if user == "user-2" else -15, "USAGE", key="june") for user in users
    ]
    return (
        f"{CROWD} others are charged in one call; only who has too little is refused.",
        [_post_all(ledger, grants), _post_all(ledger, spends), _post_all(ledger, spends)],
    )


def _post_all(ledger: Ledger, items: Sequence[BatchItem]) -> Deed:
    call = calls.post_batch(items)
    postings = ledger.run(call)
    counts = Counter("REPLAYED" if row.replayed else row.status for row in postings)
    parts = [", ".join(f"{count} {status}" for status, count in counts.items())]
    parts += [f"{row.account_id}: {_refused(refusal_of(row))}" for row in postings if row.refusal]
    return Deed(spelled(call), "; ".join(parts))


def _spent_by_many(ledger: Ledger, database_url: str) -> tuple[str, Sequence[Deed]]:
    team = "team"
    bought = _post(ledger, calls.top_up(team, 5000, key="order-1"))
    alone, together = asyncio.run(_race(team, database_url))
    left = calls.get_credits(team)
    ratio = together / alone
    return (
        f"{TASKS} tasks spend from one account: one by one, then through a batcher.",
        [
            bought,
            Deed(
                f"ledger.spend('{team}', 1, key={MORE}), awaited by {TASKS} tasks, "
                f"{CONNECTIONS} connections",
                f"{TASKS * SPENDS} POSTED",
            ),
            Deed(
                f"batcher.spend('{team}', 1, key={MORE}), awaited by {TASKS} tasks, 1 connection",
                f"{TASKS * SPENDS} POSTED, {ratio:.1f} times as many a second (this machine, "
                "just now, with no disk to wait for)",
            ),
            Deed(spelled(left), f"{ledger.run(left)} available"),
        ],
    )


async def _race(account_id: str, database_url: str) -> tuple[float, float]:
    """Return how many spends a second many tasks make by single calls, and through a batcher."""
    async with AsyncExitStack() as stack:
        ledgers = []
        for _ in range(CONNECTIONS):
            connection = await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(database_url, autocommit=True)
            )
            ledgers.append(AsyncLedger(connection))
            # What a connection does but once is not measured.
            async with connection.transaction(force_rollback=True):
                await ledgers[-1].spend(account_id, 1)
                await ledgers[-1].post_batch([BatchItem(account_id, -1, "USAGE")] * 2)
        free: asyncio.Queue[AsyncLedger] = asyncio.Queue()
        for ledger in ledgers:
            free.put_nowait(ledger)

        async def alone(key: str) -> None:
            ledger = await free.get()
            await ledger.spend(account_id, 1, key=key)
            free.put_nowait(ledger)

        rate = await _rate("alone", alone)
        async with ledgers[0].batcher() as batcher:

            async def together(key: str) -> None:
                await batcher.spend(account_id, 1, key=key)

            return rate, await _rate("together", together)


async def _rate(name: str, spend: Callable[[str], Coroutine[Any, Any, None]]) -> float:
    async def task(number: int) -> None:
        for turn in range(SPENDS):
            await spend(f"{name}-{number}-{turn}")

    began = time.perf_counter()
    await asyncio.gather(*(task(number) for number in range(TASKS)))
    return TASKS * SPENDS / (time.perf_counter() - began)


def _explained(ledger: Ledger) -> tuple[str, Sequence[Deed]]:
    balance = calls.explain_balance(ACCOUNT)
    usage = calls.usage_by_reference(ACCOUNT)
    bought = ledger.history(ACCOUNT)[-1].created_at
    then = calls.balance_at(ACCOUNT, bought)
    verify = calls.verify()
    return (
        "Every balance can be explained, at any time, and checked.",
        [
            Deed(
                spelled(balance),
                "; ".join(f"{row.item} {row.amount}" for row in ledger.run(balance)),
            ),
            Deed(
                spelled(usage),
                ", ".join(f"{row.reference}: {row.amount}" for row in ledger.run(usage)),
            ),
            Deed(spelled(then), f"balance {ledger.run(then)}"),
            Deed(spelled(verify), f"{len(ledger.run(verify))} disagreements"),
        ],
    )


def spelled(call: Call[R]) -> str:
    """Return a call as SQL that a person would write."""
    function = re.search(rb"pgledger\.(\w+)\(", call.query)
    # By position as long as it is plain what is meant, and by name from then on.
    plain = list(
        takewhile(
            {"account_id", "code", "amount", "quantities", "prices"}.__contains__, call.arguments
        )
    )
    arguments = ", ".join(
        _literal(value) if name in plain else f"{name} => {_literal(value)}"
        for name, value in call.arguments.items()
    )
    return f"{function[1].decode() if function else ''}({arguments})"


def _literal(value: object) -> str:
    if isinstance(value, list):
        # A long list is left off where it would say no more.
        items = [str(item) for item in value]
        return f"'{{{','.join(items if len(items) <= SPELLED else [*items[:SPELLED], MORE])}}}'"
    if isinstance(value, Jsonb):
        return f"'{value.obj}'"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f"'{value}'"


def _post(ledger: Ledger, call: Call[Posting]) -> Deed:
    try:
        return Deed(spelled(call), _posted(ledger.run(call)))
    except LedgerError as error:
        return Deed(spelled(call), _refused(error))


def _refused(error: LedgerError) -> str:
    names = ("available", "requested", "missing", "status")
    figures = [f"{name} {error.details[name]}" for name in names if name in error.details]
    return f"{error.sqlstate} {error.message}: {', '.join(figures)}"


def _posted(posting: Posting) -> str:
    if posting.replayed:
        return f"replayed, nothing changed; {posting.available} available"
    if posting.status == "PENDING":
        return f"PENDING {posting.amount:+}; {posting.available} available"
    return f"POSTED {posting.amount:+}; {posting.available} available"


def _tokens(output: int) -> dict[str, int]:
    return {"input_token": 1200, "output_token": output}


def _reckoned(posted: Transaction) -> str:
    """Tell how the amount of a usage was made."""
    usage = posted.usage or {}
    parts = [
        f"{show(part['quantity'])} {unit} x {show(part['credits_per_unit'])}"
        f" = {show(part['credits'])}"
        for unit, part in usage["breakdown"].items()
    ]
    return f"{'; '.join(parts)}; {show(usage['exact'])}, rounded up to {-posted.amount}"
