"""The commands about who is who: emails, ids and the provider's customers of an account."""

from typing import get_args

import click

from pgledger.commands.common import account_argument, actor_option, known
from pgledger.errors import AccountNotFoundError, IdempotencyConflictError
from pgledger.options import Group, Session
from pgledger.records import IdentifierKind
from pgledger.terminal import say, say_json, say_table, when

identifier_argument = click.argument("identifier")
kind_option = click.option(
    "--kind",
    type=click.Choice(get_args(IdentifierKind), case_sensitive=False),
    help="What IDENTIFIER is, where it does not look like it.",
)


@click.group(cls=Group)
def identifiers() -> None:
    """Tell who is who: emails, ids, customers of the provider."""


@identifiers.command("list")
@account_argument
@click.pass_obj
def list_identifiers(session: Session, account: str) -> None:
    """Show the identifiers that are linked to ACCOUNT."""
    with session.ledger() as ledger:
        found = ledger.list_identifiers(account)
        known(ledger, account)
    if session.json:
        say_json(found)
    elif found:
        say_table(
            {"kind": False, "identifier": False, "at (UTC)": False},
            [(row.kind, row.value, when(row.linked_at)) for row in found],
        )
    else:
        say(f"{account} has no identifiers but its own id")


@identifiers.command()
@account_argument
@identifier_argument
@kind_option
@click.option("--move", is_flag=True, help="Take it from the account that has it.")
@actor_option
@click.pass_obj
def link(
    session: Session,
    account: str,
    identifier: str,
    *,
    kind: IdentifierKind | None,
    move: bool,
    actor: str | None,
) -> None:
    """Link IDENTIFIER to ACCOUNT.

    An email, a UUID, a positive integer, a cus_... or pm_...; anything else
    needs its --kind. It belongs to one account: see --move.
    """
    with session.ledger() as ledger:
        try:
            linked = ledger.link_identifier(account, identifier, kind=kind, move=move, actor=actor)
        except IdempotencyConflictError as error:
            error.hint = "An identifier belongs to one account: --move moves it."
            raise
    if session.json:
        say_json(linked)
    else:
        say(f"{linked.value} ({linked.kind}) belongs to {linked.account_id}")


@identifiers.command()
@identifier_argument
@kind_option
@actor_option
@click.pass_obj
def unlink(
    session: Session, identifier: str, *, kind: IdentifierKind | None, actor: str | None
) -> None:
    """Take IDENTIFIER away from its account."""
    with session.ledger() as ledger:
        was_linked = ledger.unlink_identifier(identifier, kind=kind, actor=actor)
    if session.json:
        say_json({"identifier": identifier, "was_linked": was_linked})
    else:
        say(f"{identifier} {'is linked no more' if was_linked else 'was not linked'}")


@identifiers.command()
@identifier_argument
@kind_option
@click.option("--open", "opens", is_flag=True, help="Open an account for who has none.")
@click.option(
    "--account",
    metavar="ID",
    help="With --open, the id of the account; a random UUID if not given.",
)
@click.pass_obj
def resolve(
    session: Session,
    identifier: str,
    *,
    kind: IdentifierKind | None,
    opens: bool,
    account: str | None,
) -> None:
    """Show which account IDENTIFIER belongs to: its id, alone."""
    if account is not None and not opens:
        raise click.UsageError("--account is for --open")
    with session.ledger() as ledger:
        try:
            found = ledger.resolve_account(identifier, kind=kind, open=opens, account_id=account)
        except AccountNotFoundError as error:
            error.hint = "Link it with pgledger identifiers link, or open an account with --open."
            raise
    if session.json:
        say_json(found)
    else:
        say(found.account_id)
