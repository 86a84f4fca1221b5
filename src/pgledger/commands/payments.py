"""The commands about payments: what a provider told, whose it is, and whether the books agree."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import click

from pgledger.client import Ledger
from pgledger.commands.background import events
from pgledger.commands.common import account_argument, actor_option, key_option
from pgledger.commands.worker import asking_stripe, stripe_provider, test_mode_option
from pgledger.failures import CommandError, Exit
from pgledger.options import AMOUNT, DURATION, Group, Instant, Session
from pgledger.payments import Fact
from pgledger.payments.comparison import RECONCILED, Difference, Report, reconcile
from pgledger.records import DisputePolicy, Payment, PaymentEvent, PaymentEventStatus
from pgledger.terminal import iso, say, say_columns, say_folded, say_json, when

# Until a payment is told of, a moment passes: what is younger is on its way.
ON_ITS_WAY = timedelta(minutes=10)


class Past(Instant):
    """An instant with its time zone, or how long ago it is: ``2d``."""

    name = "when"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read either; a length counts back from now."""
        if isinstance(value, str) and value[:-1].isdigit():
            return datetime.now(UTC) - DURATION.convert(value, param, ctx)
        return super().convert(value, param, ctx)


PAST = Past()

provider_option = click.option(
    "--provider", default="stripe", show_default=True, help="Whose: as the ledger names it."
)
any_provider_option = click.option("--provider", help="Only of this provider.")
limit_option = click.option(
    "-n",
    "limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="The last so many.",
)
on_dispute_option = click.option(
    "--on-dispute",
    type=click.Choice(get_args(DisputePolicy), case_sensitive=False),
    help="What an open dispute does to its account, as your webhook has it.",
)


@events.command("list")
@any_provider_option
@click.option(
    "--status",
    type=click.Choice(get_args(PaymentEventStatus), case_sensitive=False),
    help="Only those that are so.",
)
@limit_option
@click.pass_obj
def list_payment_events(
    session: Session, *, provider: str | None, status: PaymentEventStatus | None, limit: int
) -> None:
    """Show what payment providers told, newest first."""
    with session.ledger() as ledger:
        found = ledger.list_payment_events(provider=provider, status=status, limit_count=limit)
    if session.json:
        say_json(found)
        return
    columns: dict[str, tuple[bool, Callable[[PaymentEvent], object]]] = {
        "at (UTC)": (False, lambda row: when(row.received_at)),
        "provider": (False, lambda row: row.provider),
        "event": (False, lambda row: row.event_id),
        "type": (False, lambda row: row.type),
        "status": (False, lambda row: row.status),
        "error": (False, lambda row: (row.error or {}).get("message")),
    }
    if not found:
        say("no events of payment providers")
        return
    say_columns(columns, found)
    if failed := sum(row.status == "FAILED" for row in found):
        say(f"{failed} failed; once the reason is gone: pgledger events retry")


@events.command("show")
@click.argument("event")
@provider_option
@click.option("--payload", is_flag=True, help="Show the body, too; it may hold personal data.")
@click.pass_obj
def show_payment_event(session: Session, event: str, *, provider: str, payload: bool) -> None:
    """Show an EVENT of a payment provider, and what it did."""
    with session.ledger() as ledger:
        found = ledger.get_payment_event(provider, event)
    if found is None:
        raise _no_event(provider, event)
    if session.json:
        shown = {name: getattr(found, name) for name in found.__dataclass_fields__}
        if not payload:
            del shown["payload"]
        say_json(shown)
        return
    say(f"{found.event_id} of {found.provider}, {found.type}: {found.status}")
    if found.occurred_at is not None:
        say(f"occurred  {when(found.occurred_at)}")
    say(f"received  {when(found.received_at)}")
    if found.processed_at is not None:
        times = "once" if found.attempts == 1 else f"{found.attempts} times"
        say(f"processed {when(found.processed_at)}, {times}")
    if found.error:
        say(f"error     {found.error['sqlstate']} {found.error['message']}")
    for result in found.result or []:
        told = {name: value for name, value in result.items() if value is not None}
        record = told.pop("record", "did")
        say_folded(str(record), ", ".join(f"{name} {value}" for name, value in told.items()))
    if payload:
        say("", found.payload)


@events.command("retry")
@click.argument("event_ids", metavar="[EVENT]...", nargs=-1)
@provider_option
@on_dispute_option
@click.option(
    "--ignore-foreign", is_flag=True, help="Leave out what does not carry the ledger's metadata."
)
@click.pass_obj
def retry_payment_events(
    session: Session,
    event_ids: Sequence[str],
    *,
    provider: str,
    on_dispute: DisputePolicy | None,
    ignore_foreign: bool,
) -> None:
    """Process events again that failed: all of them, or each EVENT.

    An event that was processed stays as it is. Each is a transaction of its
    own.
    """

    def facts(kind: str, payload: str) -> Sequence[Fact]:
        return _translated(
            provider,
            kind,
            payload,
            on_dispute=on_dispute or "FREEZE",
            ignore_foreign=ignore_foreign,
        )

    with session.ledger() as ledger:
        again = [
            _retried(ledger, provider, event_id, facts)
            for event_id in event_ids or _failed(ledger, provider)
        ]
    if session.json:
        say_json(again)
    else:
        for event in again:
            error = f": {event.error['message']}" if event.error else ""
            say(f"{event.event_id}  {event.type}  {event.status}{error}")
        if not again:
            say("no event has failed")
    if any(event.status == "FAILED" for event in again):
        raise click.exceptions.Exit(Exit.REFUSED)


def _failed(ledger: Ledger, provider: str) -> list[str]:
    """Return all that failed, in the order in which they came."""
    found: list[PaymentEvent] = []
    before: datetime | None = None
    while page := ledger.list_payment_events(
        status="FAILED", provider=provider, before=before, limit_count=1000
    ):
        found += page
        before = page[-1].received_at
    return [event.event_id for event in reversed(found)]


def _retried(
    ledger: Ledger,
    provider: str,
    event_id: str,
    facts: Callable[[str, str], Sequence[Fact]],
) -> PaymentEvent:
    stored = ledger.get_payment_event(provider, event_id)
    if stored is None:
        raise _no_event(provider, event_id)
    return ledger.process_payment_event(provider, event_id, facts(stored.type, stored.payload))


def _no_event(provider: str, event_id: str) -> CommandError:
    return CommandError(
        f"no event {event_id} of {provider}", Exit.REFUSED, hint="see pgledger events list"
    )


def _translated(provider: str, kind: str, payload: str, **settings: Any) -> Sequence[Fact]:  # noqa: ANN401 - those of facts_of
    """Return the facts of a payload as they were made of it when it came."""
    told = json.loads(payload)
    if kind == RECONCILED:
        return told  # type: ignore[no-any-return] # reconcile wrote it
    if provider != "stripe":
        raise CommandError(
            f"only events of stripe can be read again here, not those of {provider}",
            Exit.USAGE,
            hint="process them in your program: process_payment_event with their facts",
        )
    from pgledger.stripe.translation import facts_of  # noqa: PLC0415 - only here

    return facts_of(told, **settings)


@click.group(cls=Group)
def payments() -> None:
    """See what was paid, and say whose a payment is."""


@payments.command("list")
@any_provider_option
@click.option("--account", help="Only payments of this account.")
@click.option("--since", type=PAST, help="First told of from then on: 2d, or an instant.")
@click.option("--until", type=PAST, help="First told of before: 1d, or an instant.")
@click.option("--unmatched", is_flag=True, help="Only those paid and not credited.")
@limit_option
@click.pass_obj
def list_payments(
    session: Session,
    *,
    provider: str | None,
    account: str | None,
    since: datetime | None,
    until: datetime | None,
    unmatched: bool,
    limit: int,
) -> None:
    """Show payments, newest first.

    Money is in the smallest unit of its currency, credits in minor units.
    """
    with session.ledger() as ledger:
        found = ledger.list_payments(
            provider=provider,
            account_id=account,
            since=since,
            until=until,
            unmatched=unmatched,
            limit_count=limit,
        )
    if session.json:
        say_json(found)
        return
    columns: dict[str, tuple[bool, Callable[[Payment], object]]] = {
        "at (UTC)": (False, lambda row: when(row.created_at)),
        "payment": (False, lambda row: row.payment_id),
        "status": (False, _status),
        "paid": (True, lambda row: row.paid and f"{row.paid} {row.paid_currency}"),
        "account": (False, lambda row: row.account_id),
        "credits": (True, lambda row: row.amount),
        "refunded": (True, lambda row: row.refunded or None),
        "disputed": (True, lambda row: row.disputed or None),
        "taken": (True, lambda row: row.taken or None),
        "reason": (False, lambda row: row.reason),
    }
    if not found:
        say("no payments")
        return
    say_columns(columns, found)
    if any(map(_is_unmatched, found)):
        say("unmatched: pgledger payments match PAYMENT ACCOUNT says whose it is")


def _is_unmatched(row: Payment) -> bool:
    return row.status == "SUCCEEDED" and row.seq is None


def _status(row: Payment) -> str:
    return "unmatched" if _is_unmatched(row) else row.status.lower()


@payments.command("match")
@click.argument("payment")
@account_argument
@click.option("--amount", type=AMOUNT, help="How many credits; else what is known of it.")
@key_option
@provider_option
@actor_option
@click.pass_obj
def match_payment(
    session: Session,
    payment: str,
    account: str,
    *,
    amount: int | None,
    key: str | None,
    provider: str,
    actor: str,
) -> None:
    """Say that PAYMENT, which nobody knew, is of ACCOUNT: it is credited.

    With --key it pays what was announced under that key.
    """
    with session.ledger() as ledger:
        matched = ledger.match_payment(
            provider, payment, account, amount=amount, key=key, actor=actor
        )
    if session.json:
        say_json(matched)
    else:
        say(
            f"credited {matched.amount} to {matched.account_id} for {matched.payment_id}",
            f"seq {matched.seq}, key {matched.key}",
        )


@click.command("reconcile")
@click.option("--since", type=PAST, required=True, help="Compare from then on: 2d, or an instant.")
@click.option("--until", type=PAST, help="Compare what is older: 1h, or an instant; else 10m.")
@click.option("--fix", is_flag=True, help="Record what is certain.")
@on_dispute_option
@test_mode_option
@click.pass_obj
def reconcile_command(
    session: Session,
    *,
    since: datetime,
    until: datetime | None,
    fix: bool,
    on_dispute: DisputePolicy | None,
    test_mode: bool,
) -> None:
    """Compare Stripe's books with the ledger, both ways.

    Lists the payments, refunds and disputes that are missing on either side
    or differ, and what is paid and not credited. With --fix, what Stripe says
    of payments that name their account, or that the ledger knows, is recorded
    as its event would have been; a new dispute only with --on-dispute.
    Everything else is for people.

    Stripe's key is read from STRIPE_API_KEY; a restricted one that only reads
    is enough. Exit code 4 when differences remain.
    """
    until = until or datetime.now(UTC) - ON_ITS_WAY
    if since >= until:
        raise click.UsageError("--since is not before --until")
    books = stripe_provider(test_mode=test_mode)
    with session.ledger() as ledger, asking_stripe():
        report = reconcile(
            ledger,
            books,
            since=since,
            until=until,
            fix=fix,
            on_dispute=on_dispute,
        )
    if session.json:
        say_json(report)
    else:
        _show_report(report, fix=fix)
    if report.differences:
        raise click.exceptions.Exit(Exit.DISAGREES)


def _show_report(report: Report, *, fix: bool) -> None:
    say(
        f"{report.provider}, {iso(report.since)} to {iso(report.until)}:",
        f"compared {report.payments} payments, {report.refunds} refunds, "
        f"{report.disputes} disputes",
    )
    if report.fixed:
        say("", f"fixed: {len(report.fixed)}")
        _show_differences(report.fixed)
    if not report.differences:
        say("", "no differences")
        return
    say("", f"differences: {len(report.differences)}")
    _show_differences(report.differences)
    certain = sum(found.certain for found in report.differences)
    if certain and not fix:
        say("", f"{certain} of them certain: --fix records what {report.provider} says")


def _show_differences(differences: Sequence[Difference]) -> None:
    columns: dict[str, tuple[bool, Callable[[Difference], object]]] = {
        "what": (False, lambda row: f"{row.record} {row.kind}".replace("_", " ")),
        "id": (False, lambda row: row.id),
        "account": (False, lambda row: row.account_id),
        "ledger": (False, lambda row: row.in_ledger),
        "provider": (False, lambda row: row.at_provider),
        "not fixed": (False, lambda row: row.failed),
    }
    say_columns(columns, differences)
