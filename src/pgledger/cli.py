"""The command line: each command reads its arguments, makes its calls, and shows the answer."""

import shlex
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, get_args

import click
import psycopg

from pgledger import demo as demonstration
from pgledger import embedded, terminal
from pgledger import migrate as migrations
from pgledger import replay as replaying
from pgledger.calls import Metadata
from pgledger.client import Ledger
from pgledger.errors import AccountNotFoundError
from pgledger.failures import Exit, explained
from pgledger.options import AMOUNT, COLUMN, METADATA, Commands, Session, global_options
from pgledger.records import Balance, Posting, Shortfall, TransactionType
from pgledger.replay import Summary, UsageFile
from pgledger.terminal import Unit, say, say_json, unit_of

HELP = """\
A ledger for prepaid credits that lives in PostgreSQL.

Without --database-url and PGLEDGER_DATABASE_URL the commands use the
embedded server that "pgledger up" starts. Amounts are whole minor units
of the account's currency.

--json and --database-url may be given before or after the command. With
--json the answer is one JSON document on stdout, also when it is an error:
{"error": {"sqlstate", "message", "details", "hint"}}.

\b
Exit codes:
  0    done
  1    the ledger refused, for instance for insufficient credits
  2    the command cannot be understood, or an argument is invalid
  3    the database is not running, not reachable, or failed
  4    verify found disagreements, or replay left rows to look at
  5    the database needs a migration, or a migration failed
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


@cli.command()
@click.pass_obj
def up(session: Session) -> None:
    """Start the embedded server, and bring its ledger up to date."""
    _only_embedded(session, "up")
    ran = embedded.status() is not None
    server = embedded.start()
    url = server.url()
    applied = migrations.migrate(url)
    if session.json:
        say_json(_server_record(server) | {"started": not ran, "applied": applied})
        return
    psql = shutil.which("psql") or str(embedded.binaries() / "psql")
    say(
        f"PostgreSQL {server.version} {'was running' if ran else 'is running now'}; "
        f"its data are in {server.directory}",
        f"the ledger is {_applied(applied)}",
        "",
        f"url:   {url}",
        f"psql:  {shlex.quote(psql)} {shlex.quote(url)}",
        "next:  pgledger top-up alice 100 --key order-1",
        "stop:  pgledger down",
    )
    if session.database_url is not None:
        click.echo("note: PGLEDGER_DATABASE_URL is set, so other commands do not use it", err=True)


@cli.command()
@click.pass_obj
def down(session: Session) -> None:
    """Stop the embedded server; its data stay."""
    _only_embedded(session, "down")
    stopped = embedded.stop()
    if session.json:
        say_json({"running": False, "stopped": stopped})
    else:
        say("stopped; the data stay" if stopped else "it was not running")


@cli.command()
@click.pass_obj
def status(session: Session) -> None:
    """Tell whether the database is running and the ledger up to date.

    Exits with 0 when it is running, with 3 when not.
    """
    record: dict[str, Any]
    if session.database_url is not None:
        with session.connect() as connection:
            version = connection.info.parameter_status("server_version")
            record = {"running": True, "version": version}
        url = session.database_url
    else:
        server = embedded.status()
        if server is None:
            directory = embedded.default_directory()
            if session.json:
                say_json({"running": False, "directory": directory})
            else:
                say(f'the embedded server ({directory}) is not running: run "pgledger up"')
            raise click.exceptions.Exit(Exit.DATABASE)
        record = _server_record(server)
        url = server.url()
    pending = migrations.pending(url)
    if session.json:
        say_json(record | {"pending_migrations": pending})
        return
    terminal.say_table(
        {"what": False, "value": False},
        [
            ("server", f"PostgreSQL {record['version']}, running"),
            *((name, record[name]) for name in ("directory", "url") if name in record),
            (
                "ledger",
                f"needs pgledger migrate ({', '.join(pending)})" if pending else "up to date",
            ),
        ],
        header=False,
    )


@cli.command()
@click.option("--dry-run", is_flag=True, help="Print the SQL that would run, for psql.")
@click.option("--to", metavar="ID", help="Stop after this migration.")
@click.pass_obj
def migrate(session: Session, to: str | None, *, dry_run: bool) -> None:
    """Bring the database's ledger up to date, or install it."""
    with session.connect() as connection:
        connection.execute("select")
    url = session.url()
    if dry_run:
        script = migrations.dry_run(url, to=to)
        if session.json:
            say_json({"pending": migrations.pending(url, to=to), "script": script})
        else:
            click.echo(script or "-- nothing to do", nl=not script)
        return
    applied = migrations.migrate(url, to=to)
    if session.json:
        say_json({"applied": applied})
    else:
        say(*(f"applied {migration}" for migration in applied) if applied else ["nothing to do"])


@cli.command()
@click.pass_obj
def sql(session: Session) -> None:
    """Print all migrations as one script for psql.

    For those who want to read and apply the SQL themselves. What is applied
    already is left out when it runs, and "pgledger migrate" knows of it.
    """
    script = migrations.migration_script()
    if session.json:
        say_json({"script": script})
    else:
        click.echo(script, nl=False)


@cli.command()
@click.pass_obj
def demo(session: Session) -> None:
    """Show what a ledger does, on a throw-away server of its own."""
    if session.url_is_option:
        raise click.UsageError(
            "demo has a throw-away server of its own and leaves every other database alone: "
            "run it without --database-url"
        )
    with ExitStack() as stack:
        server = stack.enter_context(embedded.throwaway_server())
        migrations.migrate(server.url())
        connection = stack.enter_context(psycopg.connect(server.url(), autocommit=True))
        ledger = Ledger(connection)
        steps = []
        for number, step in enumerate(demonstration.story(ledger), start=1):
            steps.append(step)
            if not session.json:
                terminal.show_step(number, step)
        history = ledger.history(demonstration.ACCOUNT)
    if session.json:
        say_json({"steps": steps, "history": history})
        return
    say("The journal of alice, newest first:", "")
    terminal.show_history(history, Unit("CREDIT"))
    say(
        "",
        "Now on a server of your own, which keeps its data:",
        "  pgledger up",
        "  pgledger top-up alice 100 --key order-1",
        "  pgledger spend alice 3 --key msg-1 --reference chat-1",
        "  pgledger history alice",
    )


@cli.command("top-up")
@click.argument("account")
@click.argument("amount", type=AMOUNT)
@click.option("--key", help="Makes a repeat harmless: one key, one effect.")
@click.option("--external-id", help="The payment provider's id: one effect, ever.")
@click.option("--reference", help="Your own id of what this belongs to.")
@click.option("--metadata", type=METADATA, help="A JSON object to keep with it.")
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
    reference: str | None,
    metadata: Metadata | None,
    ceiling: int | None,
    pending: bool,
) -> None:
    """Credit AMOUNT to ACCOUNT; the first credit opens the account."""
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
        )
        _answer(session, ledger, posting)


@cli.command()
@click.argument("account")
@click.argument("amount", type=AMOUNT)
@click.option("--key", help="Makes a repeat harmless: one key, one effect.")
@click.option("--reference", help="Your own id of what this belongs to: a chat, an order.")
@click.option("--metadata", type=METADATA, help="A JSON object to keep with it.")
@click.option(
    "--shortfall",
    type=click.Choice(get_args(Shortfall), case_sensitive=False),
    help="When credits do not cover it: refuse it (the default), spend what is there, or go "
    "into debt as far as the account may.",
)
@click.pass_obj
def spend(
    session: Session,
    account: str,
    amount: int,
    *,
    key: str | None,
    reference: str | None,
    metadata: Metadata | None,
    shortfall: Shortfall | None,
) -> None:
    """Take AMOUNT from ACCOUNT for usage."""
    with session.ledger() as ledger:
        posting = ledger.spend(
            account, amount, key=key, reference=reference, metadata=metadata, shortfall=shortfall
        )
        _answer(session, ledger, posting)


@cli.command()
@click.argument("account")
@click.pass_obj
def balance(session: Session, account: str) -> None:
    """Show what ACCOUNT has."""
    with session.ledger() as ledger:
        found = _known(ledger, account)
        if session.json:
            say_json(found)
            return
        unit = unit_of(ledger, found.currency)
    terminal.show_balance(found, unit)


@cli.command()
@click.argument("account")
@click.option("--limit", type=int, default=100, show_default=True, help="How many, up to 10000.")
@click.option("--before-seq", type=int, metavar="SEQ", help="Only those before this one.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(get_args(TransactionType), case_sensitive=False),
    metavar="TYPE",
    help="Only those of one type, such as usage.",
)
@click.pass_obj
def history(
    session: Session,
    account: str,
    limit: int,
    before_seq: int | None,
    kind: TransactionType | None,
) -> None:
    """Show the transactions of ACCOUNT, newest first."""
    with session.ledger() as ledger:
        page = ledger.history(account, limit_count=limit, before_seq=before_seq, type=kind)
        found = None if page and session.json else _known(ledger, account)
        unit = unit_of(ledger, found.currency) if found else Unit("")
    if session.json:
        say_json(page)
        return
    if not page:
        say("no transactions")
        return
    terminal.show_history(page, unit)
    if len(page) == limit:
        click.echo(f"older ones: --before-seq {page[-1].seq}", err=True)


@cli.command()
@click.argument("account", required=False)
@click.pass_obj
def verify(session: Session, account: str | None) -> None:
    """Check that every figure of ACCOUNT, or of all accounts, agrees.

    Reads everything. Exits with 4 when something disagrees.
    """
    with session.ledger() as ledger:
        found = ledger.verify(account)
        if account is not None and not found:
            _known(ledger, account)
    if session.json:
        say_json(found)
    elif found:
        names = ("account_id", "rule", "seq", "key", "expected", "found")
        terminal.say_table(
            {name: name == "seq" for name in names},
            [[getattr(row, name) for name in names] for row in found],
        )
    else:
        say(f"no disagreements in {'the ledger' if account is None else account}")
    if found:
        raise click.exceptions.Exit(Exit.DISAGREES)


@cli.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "names",
    "--map",
    type=COLUMN,
    multiple=True,
    help="Which column is the account, amount, key or reference, where it is named otherwise, "
    "such as --map amount=credits. May be repeated.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many to share the accounts over.",
)
@click.option(
    "--shortfall",
    type=click.Choice(get_args(Shortfall), case_sensitive=False),
    help="What to do when credits run short, as in pgledger spend.",
)
@click.option("--strict", is_flag=True, help="Charge every row or none, in one transaction.")
@click.pass_obj
def replay(
    session: Session,
    file: BinaryIO,
    names: Sequence[tuple[str, str]],
    connections: int,
    shortfall: Shortfall | None,
    *,
    strict: bool,
) -> None:
    """Charge the usage events of a CSV FILE, or of stdin for "-".

    The first line names the columns: account and amount, and usually key and
    reference; all others are kept as metadata. Amounts are positive whole
    minor units.

    A second run charges nothing twice, so what was interrupted is simply run
    again. Without a column "key" the keys are made from the content of the
    whole file and the line: the same file is charged once, but a file that
    was changed is another file. Such a file is charged only when all of its
    rows are good. Each account's rows are charged in the order of the file.

    A bad row is named and left out, and the rest goes on. Exits with 4 when
    there were bad rows, or rows refused for another reason than insufficient
    credits; these are a result, and counted. With --strict a row that cannot
    be charged, for whatever reason, rolls everything back (exit code 4).
    """
    if strict and connections > 1:
        raise click.UsageError("--strict is one transaction, so it takes one connection")
    usage = UsageFile(file, dict(names))
    summary = Summary()
    try:
        with terminal.progress(file) as progress:
            replaying.replay(
                usage,
                session.connect,
                summary,
                connections=connections,
                shortfall=shortfall,
                strict=strict,
                progress=progress,
            )
    except (Exception, KeyboardInterrupt) as error:
        told = explained(error)
        if told is None:
            raise
        told.parts["details"] = {
            **told.parts["details"],
            "replay": terminal.summary_record(summary),
        }
        if not session.json:
            terminal.show_problems(summary)
            if summary.charged:
                click.echo(
                    f"{summary.charged} rows were charged; run it again for the rest", err=True
                )
        raise told from error
    if session.json:
        say_json(terminal.summary_record(summary))
    else:
        terminal.show_problems(summary)
        terminal.show_summary(summary)
    if summary.problem_count:
        raise click.exceptions.Exit(Exit.DISAGREES)


def _only_embedded(session: Session, command: str) -> None:
    if session.url_is_option:
        raise click.UsageError(
            f"{command} is about the embedded server, not about a database that is given"
        )


def _server_record(server: embedded.Server) -> dict[str, Any]:
    return {
        "running": True,
        "version": server.version,
        "directory": str(server.directory),
        "url": server.url(),
        "pid": server.pid,
    }


def _applied(applied: Sequence[str]) -> str:
    return f"migrated: {', '.join(applied)}" if applied else "up to date"


def _known(ledger: Ledger, account: str) -> Balance:
    found = ledger.get_balance(account)
    if found.status is None:
        raise AccountNotFoundError(
            "account not found",
            sqlstate="LG003",
            details={"account_id": account},
            hint="Its first credit opens an account: pgledger top-up.",
        )
    return found


def _answer(session: Session, ledger: Ledger, posting: Posting) -> None:
    if session.json:
        say_json(posting)
    else:
        currency = ledger.get_balance(posting.account_id).currency
        terminal.show_posting(posting, unit_of(ledger, currency))
