"""What commands on accounts share: arguments, options, and how a posting is answered."""

from typing import Any

import click

from pgledger.client import Ledger
from pgledger.errors import AccountNotFoundError
from pgledger.options import AMOUNT, METADATA, Session
from pgledger.records import Balance, Posting
from pgledger.terminal import say_json, show_posting, unit_of

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


def known(ledger: Ledger, account: str) -> Balance:
    """Return what an account has; refuse one that the ledger does not know."""
    found = ledger.get_balance(account)
    if found.status is None:
        raise AccountNotFoundError(
            "account not found",
            sqlstate="LG003",
            details={"account_id": account},
            hint="Its first credit opens an account: pgledger top-up.",
        )
    return found


def answer(session: Session, ledger: Ledger, posting: Posting, **words: Any) -> None:  # noqa: ANN401 - those of show_posting
    """Tell what a movement did."""
    if session.json:
        say_json(posting)
    else:
        currency = ledger.get_balance(posting.account_id).currency
        show_posting(posting, unit_of(ledger, currency), **words)
