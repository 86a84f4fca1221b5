"""The commands about the database: the embedded server, migrations, the demonstration."""

import shlex
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import click
import psycopg

from pgledger import demo as demonstration
from pgledger import embedded, terminal
from pgledger import migrate as migrations
from pgledger.client import Ledger
from pgledger.failures import Exit
from pgledger.options import Session
from pgledger.terminal import Unit, say, say_json


@click.command()
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


@click.command()
@click.pass_obj
def down(session: Session) -> None:
    """Stop the embedded server; its data stay."""
    _only_embedded(session, "down")
    stopped = embedded.stop()
    if session.json:
        say_json({"running": False, "stopped": stopped})
    else:
        say("stopped; the data stay" if stopped else "it was not running")


@click.command()
@click.pass_obj
def status(session: Session) -> None:
    """Tell whether the database runs and the ledger is up to date.

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


@click.command()
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


@click.command()
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


@click.command()
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
        for number, step in enumerate(demonstration.story(ledger, server.url()), start=1):
            steps.append(step)
            if not session.json:
                terminal.show_step(number, step)
        history = ledger.history(demonstration.ACCOUNT)
    if session.json:
        say_json({"steps": steps, "history": history})
        return
    say("The journal of alice, newest first:", "")
    # What leaves room for a terminal of 80 columns.
    terminal.show_history(history, Unit("CREDIT"), without={"at (UTC)", "external"})
    say(
        "",
        "Now on a server of your own, which keeps its data:",
        "  pgledger up",
        "  pgledger top-up alice 100 --key order-1",
        "  pgledger spend alice 3 --key msg-1 --reference chat-1",
        "  pgledger history alice",
    )


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
