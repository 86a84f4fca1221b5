"""What all commands share: the global options, the types of arguments, how failures are told."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgledger import embedded
from pgledger.client import Ledger
from pgledger.failures import CommandError, Exit, explained
from pgledger.replay import COLUMNS, parse_amount
from pgledger.terminal import show_failure


@dataclass(slots=True)
class Session:
    """What the options say that every command takes."""

    database_url: str | None = None
    json: bool = False
    url_is_option: bool = False

    def url(self) -> str:
        """Return the database that was given, else that of the embedded server if it runs."""
        if self.database_url is not None:
            return self.database_url
        try:
            server = embedded.status()
        except embedded.EmbeddedServerError as error:
            raise CommandError(
                "no database: give --database-url", Exit.DATABASE, hint=str(error)
            ) from error
        if server is None:
            raise CommandError(
                'no database: run "pgledger up" or give --database-url', Exit.DATABASE
            )
        return server.url()

    def connect(self) -> psycopg.Connection[Any]:
        """Open a connection in autocommit mode: each call is a transaction of its own."""
        defaults = {"connect_timeout": "10", "fallback_application_name": "pgledger"}
        url = make_conninfo("", **(defaults | conninfo_to_dict(self.url())))
        try:
            return psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError as error:
            reason = " ".join(str(error).split())
            raise CommandError(
                f"cannot connect to the database: {reason}", Exit.DATABASE
            ) from error

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """Open the ledger for one command."""
        with self.connect() as connection:
            yield Ledger(connection)


class Commands(click.Group):
    """Commands that all take the global options, and tell every failure in one way."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command; the global options may be given after its name, too."""
        cmd.params.extend(global_options())
        super().add_command(cmd, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Keep the commands in the order in which they are needed."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run a command to the end of its output, whose reader may have gone."""
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes once more on its way out, and that must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(Exit.PIPE_CLOSED) from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:  # noqa: ANN401 - as above
        """Run the program and exit with the code that the help promises."""
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(given, *rest, **{**extra, "standalone_mode": False})
        except Exception as error:
            told = explained(error)
            if told is None:
                raise
            # Read from the words themselves: the error may be that they cannot be understood.
            show_failure(told, as_json="--json" in given)
            code = told.code
        sys.exit(code or 0)


class Amount(click.ParamType[int]):
    """A positive whole number of minor units."""

    name = "amount"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the number, as in a file of usage events."""
        try:
            return parse_amount(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Metadata(click.ParamType[dict[str, Any]]):
    """A JSON object."""

    name = "json"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        """Read the JSON object."""
        try:
            read = json.loads(value)
        except ValueError as error:
            self.fail(f"not JSON: {error}", param, ctx)
        if not isinstance(read, dict):
            self.fail('not a JSON object, such as {"model": "small"}', param, ctx)
        return read


class Column(click.ParamType[tuple[str, str]]):
    """Which column of a file is which: ``amount=credits``."""

    name = "name=column"

    def convert(
        self,
        value: str | tuple[str, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Read both sides; click may hand over what was read before."""
        if isinstance(value, tuple):
            return value
        name, _, column = value.partition("=")
        if not column or name not in COLUMNS:
            known = ", ".join(COLUMNS)
            self.fail(f"{value!r} is not one of {known}, then =, then a column", param, ctx)
        return name, column


AMOUNT = Amount()
COLUMN = Column()
METADATA = Metadata()


def _set_database_url(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    if not value.strip():
        raise click.BadParameter("it is empty")
    try:
        conninfo_to_dict(value)
    except psycopg.ProgrammingError:
        # Without what libpq says: it quotes the URL, which may hold a password.
        raise click.BadParameter(
            "not a URL that PostgreSQL understands; it looks like "
            "postgresql://user:password@host:5432/database, and a special character in the "
            "password is written as percent and two digits"
        ) from None
    session = ctx.ensure_object(Session)
    session.database_url = value
    source = ctx.get_parameter_source(str(option.name))
    session.url_is_option = source is click.core.ParameterSource.COMMANDLINE


def _set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - a callback
    if value:
        ctx.ensure_object(Session).json = True


def global_options(**url: Any) -> list[click.Parameter]:  # noqa: ANN401 - click's attributes
    """Return the options that may stand before and after the name of a command."""
    return [
        click.Option(
            ["--database-url"],
            metavar="URL",
            help="The database, instead of the embedded server's.",
            expose_value=False,
            callback=_set_database_url,
            **url,
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            help="Answer with one JSON document.",
            expose_value=False,
            callback=_set_json,
        ),
    ]
