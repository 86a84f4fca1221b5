"""The command that tells who did what by hand."""

from datetime import datetime

import click

from pgledger import terminal
from pgledger.commands.common import known
from pgledger.options import INSTANT, Session
from pgledger.terminal import iso, say, say_json


@click.command()
@click.argument("account", required=False)
@click.option("--act", help="Only one act, by the name of its function: set_account_status.")
@click.option("--actor", help="Only what one actor did.")
@click.option("--limit", type=int, default=100, show_default=True, help="How many, up to 10000.")
@click.option("--before", type=INSTANT, help="Only what came before, such as 2030-01-31T12:00Z.")
@click.pass_obj
def audit(
    session: Session,
    account: str | None,
    *,
    act: str | None,
    actor: str | None,
    limit: int,
    before: datetime | None,
) -> None:
    """Show who did what by hand, newest first.

    To ACCOUNT, or anywhere: settings, plans, prices, refunds, reversals, and
    what was decided. What concerns no single account, such as a price, is
    shown without ACCOUNT.
    """
    with session.ledger() as ledger:
        found = ledger.list_audit(
            account, act=act, actor=actor, limit_count=limit, before_at=before
        )
        if account is not None and not found:
            known(ledger, account)
    if session.json:
        say_json(found)
        return
    for entry in found:
        terminal.show_audit_entry(entry)
    if not found:
        say("nothing was done by hand")
    elif len(found) == limit:
        click.echo(f"older ones: --before {iso(found[-1].created_at)}", err=True)
