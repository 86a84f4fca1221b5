"""The commands about lots, and about where credits came from and went."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import click

from pgledger.client import Ledger
from pgledger.commands.common import (
    account_argument,
    actor_option,
    answer,
    key_argument,
    known,
    reason_option,
)
from pgledger.errors import TransactionNotFoundError
from pgledger.options import DURATION, Session
from pgledger.records import BalanceItem, Draw, ExpiringLot, Lot, Transaction
from pgledger.terminal import Unit, say, say_columns, say_json, show_breakdown, unit_of, until, when


@click.command()
@account_argument
@click.option("--open", "only_open", is_flag=True, help="Only those that are not used up.")
@click.option("--limit", type=int, default=1000, show_default=True, help="How many.")
@click.pass_obj
def lots(session: Session, account: str, *, only_open: bool, limit: int) -> None:
    """Show the lots of ACCOUNT in the order they are spent.

    A lot is what a credit with an expiry or a priority of its own brought.
    Those that are used up or gone come last, newest first. What is not in a
    lot is in the pool, which never expires: see "pgledger explain".
    """
    with session.ledger() as ledger:
        found = ledger.lots(account, include_closed=not only_open, limit_count=limit)
        unit = unit_of(ledger, known(ledger, account).currency)
    if session.json:
        say_json(found)
    elif found:
        _show_lots(found, unit)
    else:
        say(f"{account} has no {'open ' if only_open else ''}lots")


@click.command()
@account_argument
@click.option("--within", type=DURATION, help="How far to look: 7d, 12h. 30 days if not given.")
@click.pass_obj
def expiring(session: Session, account: str, within: timedelta | None) -> None:
    """Show which credits of ACCOUNT expire soon, soonest first."""
    with session.ledger() as ledger:
        found = ledger.expiring(account, within=within)
        unit = unit_of(ledger, known(ledger, account).currency)
    if session.json:
        say_json(found)
    elif found:
        _show_expiring(found, unit)
    else:
        say("nothing expires in that time")


@click.command("revoke-lot")
@account_argument
@key_argument
@reason_option
@actor_option
@click.pass_obj
def revoke_lot(
    session: Session, account: str, key: str, *, reason: str | None, actor: str | None
) -> None:
    """Take back what remains of one grant or top-up.

    KEY names the credit that made the lot; see "pgledger lots". What was
    spent of it stays spent, and what holds reserve goes when they are
    released.
    """
    with session.ledger() as ledger:
        answer(session, ledger, ledger.revoke_lot(account, key, reason=reason, actor=actor))


@click.command()
@account_argument
@click.argument("key", required=False)
@click.pass_obj
def explain(session: Session, account: str, key: str | None) -> None:
    """Explain the balance of ACCOUNT, or what paid for KEY.

    Without KEY: the pool, each lot, what is held, owed and due. With the key
    of a transaction or hold, or its seq in quotes, such as '#3': which lots
    paid or reserve how much, and why in that order; and of a usage that was
    priced, what it cost unit by unit. As JSON that is the transaction, with
    its usage and its draws.
    """
    with session.ledger() as ledger:
        unit = unit_of(ledger, known(ledger, account).currency)
        if key is None:
            items = ledger.explain_balance(account)
        else:
            transaction = _known_transaction(ledger, account, key)
            draws = ledger.explain_transaction(account, key)
    if session.json:
        say_json(items if key is None else asdict(transaction) | {"draws": draws})
    elif key is None:
        _show_items(items, unit)
    else:
        _show_draws(transaction, draws, unit)


def _known_transaction(ledger: Ledger, account: str, key: str) -> Transaction:
    found = ledger.get_transaction(account, key)
    if found is None:
        raise TransactionNotFoundError(
            "transaction not found",
            sqlstate="LG006",
            details={"account_id": account, "key": key},
            hint="pgledger history lists the keys.",
        )
    return found


def _show_lots(found: Sequence[Lot], unit: Unit) -> None:
    say_columns(
        {
            "key": (False, lambda lot: lot.key),
            "granted": (True, lambda lot: unit.show(lot.granted)),
            "drawn": (True, lambda lot: lot.drawn and unit.show(lot.drawn)),
            "expired": (True, lambda lot: lot.expired and unit.show(lot.expired)),
            "held": (True, lambda lot: lot.held and unit.show(lot.held)),
            "remaining": (True, lambda lot: unit.show(lot.remaining)),
            "priority": (True, lambda lot: lot.priority),
            "expires (UTC)": (False, lambda lot: until(lot.expires_at)),
        },
        found,
    )
    say(f"amounts in {unit.code}")


def _show_expiring(found: Sequence[ExpiringLot], unit: Unit) -> None:
    say_columns(
        {
            "expires (UTC)": (False, lambda lot: until(lot.expires_at)),
            "amount": (True, lambda lot: unit.show(lot.amount)),
            "held": (True, lambda lot: lot.held and unit.show(lot.held)),
            "key": (False, lambda lot: lot.key),
        },
        found,
    )
    say(f"in all {unit.name(sum(lot.amount for lot in found))}")


def _show_items(items: Sequence[BalanceItem], unit: Unit) -> None:
    say_columns(
        {
            "item": (False, lambda row: row.item),
            "amount": (True, lambda row: "" if row.amount is None else unit.show(row.amount)),
            "key": (False, lambda row: row.key),
            "at (UTC)": (False, lambda row: row.expires_at and when(row.expires_at)),
            "words": (False, lambda row: row.words),
        },
        items,
    )
    say(f"amounts in {unit.code}")


def _show_draws(transaction: Transaction, draws: Sequence[Draw], unit: Unit) -> None:
    status = "" if transaction.status == "POSTED" else f"{transaction.status} "
    say(
        f"{status}{transaction.type} {unit.show(transaction.amount)} {unit.code} "
        f"at {when(transaction.created_at)} UTC, key {transaction.key}"
    )
    if transaction.usage is not None:
        _show_usage(transaction, transaction.usage, unit)
    say_columns(
        {
            "amount": (True, lambda draw: unit.show(draw.amount)),
            "lot": (False, lambda draw: draw.lot_key or "the pool"),
            "why": (False, lambda draw: draw.reason),
        },
        draws,
    )


def _show_usage(transaction: Transaction, usage: Mapping[str, Any], unit: Unit) -> None:
    cost = abs(transaction.requested_amount)
    say(f"{usage['code']} costs {unit.name(cost)}, by the prices of {usage['valid_from']}")
    show_breakdown(usage["breakdown"], usage["exact"], cost, usage["rounding"])
