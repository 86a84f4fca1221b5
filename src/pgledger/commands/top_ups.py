"""The commands about top-ups that a payer asks for: announcing one, and within which limits."""

import shlex
from datetime import datetime

import click

from pgledger.calls import Metadata
from pgledger.commands.common import (
    account_argument,
    actor_option,
    amount_argument,
    expires_option,
    key_option,
    metadata_option,
    priority_option,
    reference_option,
)
from pgledger.options import AMOUNT, Group, Session
from pgledger.records import TopUpLimits
from pgledger.terminal import say, say_json


@click.group("top-ups", cls=Group)
def top_ups() -> None:
    """Announce top-ups that are to be paid, and set their limits."""


@top_ups.command("create")
@account_argument
@amount_argument
@key_option
@click.option("--price", type=AMOUNT, help="What it costs, in the smallest unit of --currency.")
@click.option("--currency", help="Of the price: usd.")
@reference_option
@metadata_option
@expires_option
@priority_option
@click.pass_obj
def create(
    session: Session,
    account: str,
    amount: int,
    *,
    key: str | None,
    price: int | None,
    currency: str | None,
    reference: str | None,
    metadata: Metadata | None,
    expires_at: datetime | None,
    priority: int | None,
) -> None:
    """Announce AMOUNT credits that ACCOUNT is about to pay, within its limits.

    It becomes effective when the provider says that it is paid. A repeat of
    the key changes nothing.
    """
    with session.ledger() as ledger:
        charge = ledger.create_top_up(
            account,
            amount,
            key=key,
            price=price,
            price_currency=currency,
            reference=reference,
            metadata=metadata,
            expires_at=expires_at,
            priority=priority,
        )
    if session.json:
        say_json(charge)
        return
    cost = ""
    if charge.price is not None:
        cost = f" for {charge.price} {charge.price_currency}, in its smallest unit"
    if charge.replayed:
        say(f"announced before, now {charge.status}: this is a repeat and changed nothing")
    say(
        f"announced {charge.amount} to {charge.account_id}{cost}",
        f"key {charge.key}",
        f"idempotency key {charge.idempotency_key}",
    )
    if charge.status == "PENDING":
        say(f"once paid: pgledger enable {shlex.join([charge.account_id, charge.key])}")


@top_ups.group(cls=Group)
def limits() -> None:
    """See and set within which limits top-ups are announced."""


@limits.command("show")
@click.argument("account", required=False)
@click.pass_obj
def show(session: Session, account: str | None) -> None:
    """Show the limits of ACCOUNT, or those of all that have none of their own."""
    with session.ledger() as ledger:
        found = ledger.get_top_up_limits(account)
    _answer(session, account, found)


@limits.command("set")
@click.argument("account", required=False)
@click.option("--minimum", type=AMOUNT, help="The least of one top-up.")
@click.option("--multiple-of", type=AMOUNT, help="One top-up is a multiple of this.")
@click.option("--maximum", type=AMOUNT, help="The most of one top-up.")
@click.option("--daily-count", type=AMOUNT, metavar="COUNT", help="At most so many a day of UTC.")
@click.option("--daily-amount", type=AMOUNT, help="At most so much a day of UTC.")
@actor_option
@click.pass_obj
def set_limits(
    session: Session,
    account: str | None,
    *,
    minimum: int | None,
    multiple_of: int | None,
    maximum: int | None,
    daily_count: int | None,
    daily_amount: int | None,
    actor: str,
) -> None:
    """Set, whole, the limits of ACCOUNT, or of all that have none of their own.

    A limit that is not given is none. With none given, ACCOUNT goes by those
    of all.
    """
    with session.ledger() as ledger:
        found = ledger.set_top_up_limits(
            account,
            minimum=minimum,
            multiple_of=multiple_of,
            maximum=maximum,
            daily_count_limit=daily_count,
            daily_amount_limit=daily_amount,
            actor=actor,
        )
    _answer(session, account, found)


def _answer(session: Session, account: str | None, found: TopUpLimits | None) -> None:
    if session.json:
        say_json(found)
        return
    whose = "accounts without limits of their own" if account is None else account
    if found is None:
        say(f"{whose}: no limits")
        return
    say(f"{whose}:" if found.account_id or account is None else f"{whose}, as all accounts:")
    told = {
        "at least {}": found.minimum,
        "a multiple of {}": found.multiple_of,
        "at most {}": found.maximum,
        "at most {} times a day": found.daily_count_limit,
        "at most {} a day": found.daily_amount_limit,
    }
    say(*(f"  {words.format(limit)}" for words, limit in told.items() if limit is not None))
