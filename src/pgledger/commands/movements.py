"""The commands that move credits, or announce, reserve and give them back."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import get_args

import click

from pgledger.calls import Metadata
from pgledger.client import Ledger
from pgledger.commands.common import (
    account_argument,
    actor_option,
    amount_argument,
    answer,
    answer_credit,
    by_unit,
    expires_option,
    external_id_option,
    key_argument,
    key_option,
    metadata_option,
    priority_option,
    quantity_option,
    reason_option,
    reference_option,
    suggesting,
)
from pgledger.options import AMOUNT, DURATION, INSTANT, Session, from_now
from pgledger.pricing import show
from pgledger.records import Posting, Shortfall
from pgledger.terminal import iso, say, say_json, unit_of

usage_option = click.option(
    "--usage", metavar="CODE", help="Of what, in place of AMOUNT: a model, a feature with prices."
)
shortfall_option = click.option(
    "--shortfall",
    type=click.Choice(get_args(Shortfall), case_sensitive=False),
    help="When credits do not cover it: refuse it (the default), spend what is there, or go "
    "into debt as far as the account may.",
)


@click.command("top-up")
@account_argument
@amount_argument
@key_option
@external_id_option
@expires_option
@priority_option
@reference_option
@metadata_option
@click.option("--pending", is_flag=True, help="Announce it: not paid yet, not effective.")
@click.option("--ceiling", type=AMOUNT, help="Credit only what fits under this balance.")
@click.pass_obj
def top_up(
    session: Session,
    account: str,
    amount: int,
    *,
    key: str | None,
    external_id: str | None,
    expires_at: datetime | None,
    priority: int | None,
    reference: str | None,
    metadata: Metadata | None,
    ceiling: int | None,
    pending: bool,
) -> None:
    """Credit AMOUNT to ACCOUNT; the first credit opens the account.

    With --expires or --priority the credits form a lot of their own. A repeat
    with the same key must name the same instant: "--expires 14d" would name a
    later one, so repeat it with what the first answer says.
    """
    with session.ledger() as ledger:
        posting = ledger.top_up(
            account,
            amount,
            key=key,
            is_active=not pending,
            ceiling_balance=ceiling,
            reference=reference,
            external_id=external_id,
            metadata=metadata,
            expires_at=expires_at,
            priority=priority,
        )
        answer_credit(session, ledger, posting, expires_at, priority)


@click.command()
@account_argument
@amount_argument
@key_option
@expires_option
@priority_option
@reference_option
@metadata_option
@click.pass_obj
def grant(
    session: Session,
    account: str,
    amount: int,
    *,
    key: str | None,
    expires_at: datetime | None,
    priority: int | None,
    reference: str | None,
    metadata: Metadata | None,
) -> None:
    """Credit AMOUNT that nobody paid for to ACCOUNT.

    A trial, a promotion, goodwill. With --expires or --priority the credits
    form a lot of their own. A repeat with the same key must name the same
    instant: "--expires 14d" would name a later one, so repeat it with what
    the first answer says.
    """
    with session.ledger() as ledger:
        posting = ledger.grant_credits(
            account,
            amount,
            key=key,
            expires_at=expires_at,
            priority=priority,
            reference=reference,
            metadata=metadata,
        )
        answer_credit(session, ledger, posting, expires_at, priority)


@click.command()
@account_argument
@key_argument
@click.argument("amount", type=AMOUNT, required=False)
@external_id_option
@metadata_option
@click.pass_obj
def enable(
    session: Session,
    account: str,
    key: str,
    amount: int | None,
    *,
    external_id: str | None,
    metadata: Metadata | None,
) -> None:
    """Make an announced top-up effective: it was paid.

    As announced, or with the final AMOUNT. An auto-top-up's KEY is quoted:
    '#auto-1'. With --external-id also after it was cancelled: the money came
    late.
    """
    with session.ledger() as ledger:
        posting = ledger.enable_transaction(
            account, key, external_id=external_id, metadata=metadata, amount=amount
        )
        answer(session, ledger, posting)


@click.command()
@account_argument
@key_argument
@reason_option
@click.pass_obj
def cancel(session: Session, account: str, key: str, *, reason: str | None) -> None:
    """Drop an announced top-up: it is not paid. KEY stays taken."""
    with session.ledger() as ledger:
        answer(session, ledger, ledger.cancel_transaction(account, key, reason=reason))


@click.command()
@account_argument
@click.argument("amount", type=AMOUNT, required=False)
@usage_option
@quantity_option
@key_option
@reference_option
@metadata_option
@shortfall_option
@click.pass_obj
def spend(
    session: Session,
    account: str,
    amount: int | None,
    *,
    usage: str | None,
    quantities: Sequence[tuple[str, Decimal]],
    key: str | None,
    reference: str | None,
    metadata: Metadata | None,
    shortfall: Shortfall | None,
) -> None:
    """Take AMOUNT from ACCOUNT for usage, or what a usage costs.

    By its price: --usage gpt-5 --quantity input_token=1200 instead of AMOUNT;
    "pgledger prices show" tells what it would cost.
    """
    asked = _asked(amount, usage, quantities)
    with session.ledger() as ledger, suggesting(ledger):
        if isinstance(asked, int):
            posting = ledger.spend(
                account,
                asked,
                key=key,
                reference=reference,
                metadata=metadata,
                shortfall=shortfall,
            )
        else:
            posting = ledger.spend_usage(
                account,
                *asked,
                key=key,
                reference=reference,
                metadata=metadata,
                shortfall=shortfall,
            )
        answer(session, ledger, posting)
        _answer_usage(session, asked)


@click.command()
@account_argument
@click.argument("amount", type=AMOUNT, required=False)
@usage_option
@quantity_option
@key_option
@click.option("--expires-in", type=DURATION, help="Reserve nothing after that: 30s, 15m, 1h, 7d.")
@click.option(
    "--expires-at",
    type=INSTANT,
    help="The same as an instant with its time zone, such as 2030-01-31T12:00Z.",
)
@reference_option
@metadata_option
@click.pass_obj
def hold(
    session: Session,
    account: str,
    amount: int | None,
    *,
    usage: str | None,
    quantities: Sequence[tuple[str, Decimal]],
    key: str | None,
    expires_in: timedelta | None,
    expires_at: datetime | None,
    reference: str | None,
    metadata: Metadata | None,
) -> None:
    """Reserve AMOUNT for usage whose cost is not known yet.

    Or what an estimate of it costs: --usage gpt-5 --quantity input_token=1200
    instead of AMOUNT. "capture" spends it, "release" gives it back. A repeat
    with the same key must name the same instant: with --expires-in it would
    name a later one, so repeat with --expires-at what the first answer says.
    """
    asked = _asked(amount, usage, quantities)
    if expires_in is not None:
        if expires_at is not None:
            raise click.UsageError("--expires-in and --expires-at say the same: give one of them")
        expires_at = from_now(expires_in)
    with session.ledger() as ledger, suggesting(ledger):
        if isinstance(asked, int):
            posting = ledger.hold(
                account,
                asked,
                key=key,
                expires_at=expires_at,
                reference=reference,
                metadata=metadata,
            )
        else:
            posting = ledger.hold_usage(
                account,
                *asked,
                key=key,
                expires_at=expires_at,
                reference=reference,
                metadata=metadata,
            )
        if session.json:
            say_json(asdict(posting) | {"expires_at": expires_at})
            return
        answer(session, ledger, posting, until=expires_at and iso(expires_at))
        _answer_usage(session, asked)


@click.command()
@account_argument
@key_argument
@click.argument("amount", type=AMOUNT, required=False)
@quantity_option
@shortfall_option
@metadata_option
@click.pass_obj
def capture(
    session: Session,
    account: str,
    key: str,
    amount: int | None,
    *,
    quantities: Sequence[tuple[str, Decimal]],
    shortfall: Shortfall | None,
    metadata: Metadata | None,
) -> None:
    """Spend what a hold reserves; the rest is released.

    AMOUNT of what the hold KEY reserves, or all of it; once. A hold of a usage
    takes what was used in the end instead, --quantity output_token=80; what it
    costs beyond the hold is spent, too, as --shortfall says.
    """
    if amount is not None and quantities:
        raise click.UsageError("AMOUNT and --quantity say the same: give one of them")
    if shortfall is not None and not quantities:
        raise click.UsageError("--shortfall is for --quantity: AMOUNT is at most the hold")
    with session.ledger() as ledger, suggesting(ledger):
        if quantities:
            posting = ledger.capture_usage(
                account, key, by_unit(quantities), shortfall=shortfall, metadata=metadata
            )
        else:
            posting = ledger.capture(account, key, amount=amount, metadata=metadata)
        done = None if posting.status == "CANCELLED" else "captured"
        answer(session, ledger, posting, done=done)
        if quantities and not session.json:
            _answer_excess(ledger, posting)


def _answer_excess(ledger: Ledger, posting: Posting) -> None:
    """Say what became of a cost beyond the hold: it is a spend of its own."""
    if posting.requested_amount is None or posting.requested_amount >= posting.amount:
        return
    unit = unit_of(ledger, ledger.get_balance(posting.account_id).currency)
    excess = ledger.get_transaction(posting.account_id, f"#excess-{posting.seq}")
    if excess is None:
        say("nothing was there for what it cost beyond the hold")
    else:
        say(f"beyond the hold: spent {unit.name(-excess.amount)}, key {excess.key}")


Usage = tuple[str, dict[str, Decimal]]


def _asked(
    amount: int | None, code: str | None, quantities: Sequence[tuple[str, Decimal]]
) -> int | Usage:
    """Return the amount, or the usage that is to be priced; refuse both and neither."""
    if code is None:
        if quantities:
            raise click.UsageError("--quantity needs --usage: of what it is a quantity")
        if amount is None:
            raise click.UsageError(
                "Missing argument 'AMOUNT', or --usage CODE with --quantity UNIT=NUMBER"
            )
        return amount
    if amount is not None:
        raise click.UsageError("AMOUNT and --usage say the same: give one of them")
    if not quantities:
        raise click.UsageError("--usage needs --quantity: how much was used of what")
    return code, by_unit(quantities)


def _answer_usage(session: Session, asked: int | Usage) -> None:
    """Say what a usage was, below what it cost."""
    if not isinstance(asked, int) and not session.json:
        code, quantities = asked
        listed = ", ".join(f"{show(number)} {unit}" for unit, number in quantities.items())
        say(f"for {listed} of {code}")


@click.command()
@account_argument
@key_argument
@reason_option
@click.pass_obj
def release(session: Session, account: str, key: str, *, reason: str | None) -> None:
    """Give back what the hold KEY reserves; nothing is spent."""
    with session.ledger() as ledger:
        answer(session, ledger, ledger.release(account, key, reason=reason))


@click.command()
@account_argument
@click.argument("original_key", metavar="TOP_UP_KEY")
@click.argument("amount", type=AMOUNT, required=False)
@key_option
@external_id_option
@click.option(
    "--chargeback", is_flag=True, help="Take it back whatever is there; it may leave a debt."
)
@reference_option
@metadata_option
@actor_option
@click.pass_obj
def refund(
    session: Session,
    account: str,
    original_key: str,
    amount: int | None,
    *,
    key: str | None,
    external_id: str | None,
    chargeback: bool,
    reference: str | None,
    metadata: Metadata | None,
    actor: str | None,
) -> None:
    """Take back a top-up whose money goes back to the payer.

    AMOUNT of it, or all that remains. It is named by its key, or by its seq
    in quotes: '#3'.
    """
    with session.ledger() as ledger:
        posting = ledger.refund(
            account,
            original_key,
            amount,
            key=key,
            external_id=external_id,
            fail_insufficient_credits=not chargeback,
            reference=reference,
            metadata=metadata,
            actor=actor,
        )
        answer(session, ledger, posting)


@click.command()
@account_argument
@click.argument("original_key", metavar="KEY")
@click.argument("amount", type=AMOUNT, required=False)
@key_option
@click.option(
    "--extend",
    type=DURATION,
    help="Give a lot that has expired since so much more time, instead of letting what goes back "
    "to it expire at once: 7d.",
)
@reference_option
@metadata_option
@actor_option
@click.pass_obj
def reverse(
    session: Session,
    account: str,
    original_key: str,
    amount: int | None,
    *,
    key: str | None,
    extend: timedelta | None,
    reference: str | None,
    metadata: Metadata | None,
    actor: str | None,
) -> None:
    """Undo a spend, a grant or an adjustment.

    AMOUNT of it, or all that remains, by a movement the other way. It is
    named by its key, or by its seq in quotes: '#3'. What a spend drew goes
    back to the lots it came from. To reverse a credit may leave a debt.
    """
    with session.ledger() as ledger:
        posting = ledger.reverse_transaction(
            account,
            original_key,
            amount,
            key=key,
            reference=reference,
            metadata=metadata,
            extend=extend,
            actor=actor,
        )
        answer(session, ledger, posting)


@click.command()
@click.argument("from_account")
@click.argument("to_account")
@amount_argument
@key_option
@reference_option
@metadata_option
@click.pass_obj
def transfer(
    session: Session,
    from_account: str,
    to_account: str,
    amount: int,
    *,
    key: str | None,
    reference: str | None,
    metadata: Metadata | None,
) -> None:
    """Move AMOUNT from one account to another of the same currency."""
    with session.ledger() as ledger:
        posting = ledger.transfer(
            from_account, to_account, amount, key=key, reference=reference, metadata=metadata
        )
        answer(session, ledger, posting, to=to_account)
