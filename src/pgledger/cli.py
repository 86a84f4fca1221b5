"""The command line: the program, what all its commands share, and the list of them."""

import click

from pgledger.commands import (
    accounts,
    audit,
    background,
    identifiers,
    lots,
    movements,
    payments,
    plans,
    prices,
    refunds,
    server,
    top_ups,
    usage,
    worker,
)
from pgledger.options import Commands, Session, global_options

HELP = """\
A ledger for prepaid credits that lives in PostgreSQL.

Without --database-url and PGLEDGER_DATABASE_URL the commands use the
embedded server that "pgledger up" starts. Amounts are whole minor units
of the account's currency.

--json and --database-url may be given before or after the command. With
--json the answer is one JSON document on stdout, also when it is an error:
{"error": {"sqlstate", "message", "details", "hint"}}. Commands that go on
and on print one document a line.

\b
Exit codes:
  0    done
  1    the ledger refused, for instance for insufficient credits
  2    the command cannot be understood, or an argument is invalid
  3    the database is not running, not reachable, or failed
  4    verify found disagreements, reconcile differences, or replay left
       rows to look at
  5    the database needs a migration, or a migration failed
  6    the payment provider could not be asked, or a charge failed
  130  interrupted
"""


@click.group(
    help=HELP,
    cls=Commands,
    invoke_without_command=True,
    params=global_options(envvar="PGLEDGER_DATABASE_URL", show_envvar=True),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(package_name="pgledger", prog_name="pgledger")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run one command, or tell which there are."""
    ctx.ensure_object(Session)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


cli.add_section("Database", server.up, server.down, server.status, server.migrate, server.sql)
cli.add_section("First look", server.demo)
cli.add_section(
    "Credits",
    movements.top_up,
    movements.grant,
    movements.enable,
    movements.cancel,
    movements.spend,
    movements.hold,
    movements.capture,
    movements.release,
    movements.refund,
    refunds.refunds,
    movements.reverse,
    lots.revoke_lot,
    movements.transfer,
    usage.replay,
)
cli.add_section(
    "Accounts",
    accounts.balance,
    accounts.history,
    lots.explain,
    lots.lots,
    lots.expiring,
    accounts.verify,
    audit.audit,
    accounts.open_account,
    accounts.account,
    accounts.low_balance,
    accounts.auto_top_up,
    plans.plan,
    plans.cap,
    identifiers.identifiers,
)
cli.add_section("Prices", prices.prices)
cli.add_section(
    "Payments", top_ups.top_ups, payments.payments, payments.reconcile_command, worker.worker
)
cli.add_section("In the background", background.run_due, background.events)
