"""What commands on accounts share: arguments, options, and how a posting is answered."""

import getpass
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

import click
import psycopg

from pgledger.client import Ledger
from pgledger.errors import AccountNotFoundError, PriceNotFoundError
from pgledger.options import AMOUNT, METADATA, UNITS, WHEN, Session
from pgledger.records import Balance, Posting, UnitPrice
from pgledger.suggestions import nearest
from pgledger.terminal import iso, say, say_json, show_posting, unit_of

account_argument = click.argument("account")
amount_argument = click.argument("amount", type=AMOUNT)
key_argument = click.argument("key")

key_option = click.option("--key", help="Makes a repeat harmless: one key, one effect.")
reference_option = click.option(
    "--reference", help="Your own id of what this belongs to: a chat, an order."
)
metadata_option = click.option("--metadata", type=METADATA, help="A JSON object to keep with it.")
external_id_option = click.option(
    "--external-id", help="The payment provider's id: one effect, ever."
)
reason_option = click.option("--reason", help="Why, in your words; kept with it.")
expires_option = click.option(
    "--expires",
    "expires_at",
    type=WHEN,
    help="The credits are gone from then on: 14d, or an instant with its time zone, such as "
    "2030-01-31T12:00Z.",
)
priority_option = click.option(
    "--priority",
    type=int,
    help="Lower is spent first; what has none has 0.",
)


def _who_runs_this() -> str | None:
    """Return the user of the operating system; in a container there may be none of that name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


actor_option = click.option(
    "--actor",
    envvar="PGLEDGER_ACTOR",
    default=_who_runs_this,
    show_default="PGLEDGER_ACTOR, else who runs this",
    help="Who does it, for the audit log.",
)

# Codes in one page of a list.
PAGE = 10_000

quantity_option = click.option(
    "quantities",
    "--quantity",
    type=UNITS,
    multiple=True,
    help="How much was used of a unit, such as input_token=1200. May be repeated.",
)


def by_unit(given: Sequence[tuple[str, Decimal]]) -> dict[str, Decimal]:
    """Return what was given for each unit; refuse one that was given twice."""
    found = dict(given)
    if len(found) < len(given):
        twice = next(unit for unit in found if sum(unit == other for other, _ in given) > 1)
        raise click.UsageError(f"{twice} is given twice")
    return found


def price_rows(
    ledger: Ledger, code: str | None, at: datetime | None, *, include_past: bool | None = None
) -> list[UnitPrice]:
    """Return what list_prices has, however much it is."""
    found: list[UnitPrice] = []
    after: str | None = None
    while True:
        page = ledger.list_prices(
            code, at=at, include_past=include_past, limit_count=PAGE, after_code=after
        )
        found += page
        if code is not None or len({row.code for row in page}) < PAGE:
            return found
        after = page[-1].code


@contextmanager
def suggesting(ledger: Ledger, at: datetime | None = None) -> Iterator[None]:
    """Let a refusal of what has no price say what was meant, most likely."""
    try:
        yield
    except PriceNotFoundError as error:
        code = error.details["code"]
        if error.details.get("unit"):
            error.hint = f"See pgledger prices show {shlex.quote(code)}."
        elif suggested := suggestion(ledger, code, at):
            error.hint = f"{suggested} See pgledger prices list."
        else:
            error.hint = "See pgledger prices list, or set prices with pgledger prices set."
        raise


def suggestion(ledger: Ledger, code: str, at: datetime | None) -> str:
    """Ask whether one of the codes most like a given one was meant; nothing if none is."""
    try:
        *others, last = nearest(code, {row.code for row in price_rows(ledger, None, at)}) or [""]
    except psycopg.errors.InsufficientPrivilege:
        return ""
    codes = f"{', '.join(others)} or {last}" if others else last
    return f"Did you mean {codes}?" if last else ""


def known(ledger: Ledger, account: str) -> Balance:
    """Return what an account has; refuse one that the ledger does not know."""
    found = ledger.get_balance(account)
    if found.status is None:
        raise AccountNotFoundError(
            "account not found",
            sqlstate="LG003",
            details={"account_id": account},
            hint="pgledger open opens an account, and so does its first credit.",
        )
    return found


def answer_credit(
    session: Session,
    ledger: Ledger,
    posting: Posting,
    expires_at: datetime | None,
    priority: int | None,
) -> None:
    """Tell what a credit did, and of a lot how to say the same again."""
    if session.json:
        say_json(asdict(posting) | {"expires_at": expires_at, "priority": priority or 0})
        return
    answer(session, ledger, posting)
    facts = [f"expires {iso(expires_at)}"] if expires_at else []
    facts += [f"priority {priority}"] if priority else []
    if facts:
        say(f"{', '.join(facts)}; see pgledger lots {shlex.quote(posting.account_id)}")


def answer(session: Session, ledger: Ledger, posting: Posting, **words: Any) -> None:  # noqa: ANN401 - those of show_posting
    """Tell what a movement did."""
    if session.json:
        say_json(posting)
    else:
        currency = ledger.get_balance(posting.account_id).currency
        show_posting(posting, unit_of(ledger, currency), **words)
