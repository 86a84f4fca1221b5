"""The commands about refund requests: who asks for money back, and who decides."""

import shlex
from typing import get_args

import click

from pgledger.client import Ledger
from pgledger.commands.common import (
    account_argument,
    actor_option,
    key_argument,
    key_option,
    known,
    reason_option,
)
from pgledger.errors import IdempotencyConflictError
from pgledger.options import AMOUNT, SIGNED, Group, Session
from pgledger.records import RefundRequest, RefundRequestStatus
from pgledger.terminal import say, say_columns, say_json, unit_of, when


@click.group(cls=Group)
def refunds() -> None:
    """Ask for money back, and decide on it."""


@refunds.command("list")
@click.argument("account", required=False)
@click.option(
    "--status",
    type=click.Choice(get_args(RefundRequestStatus), case_sensitive=False),
    help="Only those of one status.",
)
@click.option("--limit", type=int, default=100, show_default=True, help="How many, up to 10000.")
@click.pass_obj
def list_refunds(
    session: Session, account: str | None, *, status: RefundRequestStatus | None, limit: int
) -> None:
    """Show the refund requests of ACCOUNT, or of all.

    Amounts are minor units of the account's currency; money is in the smallest
    unit of its own.
    """
    with session.ledger() as ledger:
        found = ledger.list_refund_requests(status, account_id=account, limit_count=limit)
        if account is not None and not found:
            known(ledger, account)
    if session.json:
        say_json(found)
    elif found:
        say_columns(
            {
                "at (UTC)": (False, lambda row: when(row.created_at)),
                "account": (False, lambda row: row.account_id),
                "key": (False, lambda row: row.key),
                "amount": (True, lambda row: row.amount),
                "status": (False, lambda row: row.status),
                "money": (True, _money),
                "result": (False, lambda row: row.result or row.return_id),
                "why": (False, lambda row: row.decision or row.reason),
            },
            found,
        )
    else:
        say("no refund requests")


@refunds.command()
@account_argument
@click.argument("original_key", metavar="TOP_UP_KEY")
@click.argument("amount", type=AMOUNT, required=False)
@key_option
@reason_option
@click.option(
    "--tolerance",
    type=SIGNED,
    metavar="AMOUNT",
    help="Approve it at once where all but so many of its credits are unspent.",
)
@actor_option
@click.pass_obj
def request(
    session: Session,
    account: str,
    original_key: str,
    amount: int | None,
    *,
    key: str | None,
    reason: str | None,
    tolerance: int | None,
    actor: str | None,
) -> None:
    """Ask for the money of a top-up back.

    Of AMOUNT of its credits, or of all that is left. It is named by its key,
    or by its seq in quotes: '#3'. Nothing moves before it is approved.
    """
    with session.ledger() as ledger:
        try:
            asked = ledger.request_refund(
                account,
                original_key,
                amount,
                key=key,
                reason=reason,
                tolerance=tolerance,
                actor=actor,
            )
        except IdempotencyConflictError as error:
            if "open" in error.details:
                named = shlex.join([account, error.details["open"]])
                error.hint = f"Decide on the open one first: pgledger refunds approve {named}"
            raise
        _answer(session, ledger, asked)


@refunds.command()
@account_argument
@key_argument
@reason_option
@actor_option
@click.pass_obj
def approve(
    session: Session, account: str, key: str, *, reason: str | None, actor: str | None
) -> None:
    """Approve the request KEY, and take its credits.

    Whether or not they are there yet: it may leave a debt. A worker gives the
    money back, where the payment is known.
    """
    with session.ledger() as ledger:
        _answer(session, ledger, ledger.approve_refund(account, key, reason=reason, actor=actor))


@refunds.command()
@account_argument
@key_argument
@reason_option
@actor_option
@click.pass_obj
def reject(
    session: Session, account: str, key: str, *, reason: str | None, actor: str | None
) -> None:
    """Reject the request KEY; nothing moves."""
    with session.ledger() as ledger:
        _answer(session, ledger, ledger.reject_refund(account, key, reason=reason, actor=actor))


def _answer(session: Session, ledger: Ledger, asked: RefundRequest) -> None:
    """Tell where a request stands, and what is to be done next."""
    if session.json:
        say_json(asked)
        return
    balance = ledger.get_balance(asked.account_id)
    unit = unit_of(ledger, balance.currency)
    named = shlex.join([asked.account_id, asked.key])
    what = f"the refund of {unit.name(asked.amount)} of #{asked.original_seq}"
    if asked.status == "PENDING":
        say(
            f"{what} waits for a decision, key {asked.key}",
            f"then: pgledger refunds approve {named}",
            f"or:   pgledger refunds reject {named}",
        )
    elif asked.status == "REJECTED":
        say(f"{what} was rejected by {asked.decided_by}; nothing moved, key {asked.key}")
    else:
        say(
            f"{what} was approved by {asked.decided_by}",
            f"available {unit.name(balance.available)}; seq {asked.seq}, key {asked.key}",
            _whereabouts(asked),
        )


def _whereabouts(asked: RefundRequest) -> str:
    if asked.result or asked.return_id:
        return f"the money: {', '.join(filter(None, (asked.result, asked.return_id)))}"
    if asked.money is None:
        return "the money: no payment is known here, so give it back by hand"
    return (
        f"the money: {_money(asked)}, in its smallest unit, for a worker to give back through "
        f"{asked.provider}"
    )


def _money(asked: RefundRequest) -> str:
    return "" if asked.money is None else f"{asked.money} {asked.money_currency}"
