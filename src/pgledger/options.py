"""What all commands share: the global options, the types of arguments, how failures are told."""

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NoReturn

import click
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgledger import embedded
from pgledger.client import Ledger
from pgledger.failures import CommandError, Exit, explained
from pgledger.pricing import parse_number, show
from pgledger.replay import COLUMNS, parse_amount, shorten
from pgledger.terminal import show_failure

# Longer than anything that is meant, and far from where dates end.
LONGEST = timedelta(days=36_500)
# The periods that have a name, as the ledger spells them.
PERIODS = {
    "day": "1 day",
    "week": "7 days",
    "month": "1 month",
    "quarter": "3 months",
    "year": "12 months",
}
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


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
                'no database: run "pgledger up", give --database-url or set PGLEDGER_DATABASE_URL',
                Exit.DATABASE,
            )
        return server.url()

    def address(self) -> str:
        """Return where to connect, as libpq reads it."""
        defaults = {"connect_timeout": "10", "fallback_application_name": "pgledger"}
        return make_conninfo("", **(defaults | conninfo_to_dict(self.url())))

    def connect(self) -> psycopg.Connection[Any]:
        """Open a connection in autocommit mode: each call is a transaction of its own."""
        try:
            return psycopg.connect(self.address(), autocommit=True)
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


class Group(click.Group):
    """Commands that all take the global options."""

    def __init__(self, *args: Any, **attributes: Any) -> None:  # noqa: ANN401 - click's own
        """Let a missing command be an error as any other."""
        super().__init__(*args, **{"no_args_is_help": False, **attributes})

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command; the global options may be given after its name, too."""
        cmd.params.extend(global_options())
        super().add_command(cmd, name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Keep the commands in the order in which they are needed."""
        del ctx
        return list(self.commands)


class Commands(Group):
    """The whole program: its commands by subject, and every failure told in one way."""

    def __init__(self, *args: Any, **attributes: Any) -> None:  # noqa: ANN401 - click's own
        """Begin with no command."""
        super().__init__(*args, **attributes)
        self._sections: dict[str, list[str]] = {}

    def add_section(self, title: str, *commands: click.Command) -> None:
        """Add the commands of one subject."""
        for command in commands:
            self.add_command(command)
        self._sections[title] = [str(command.name) for command in commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by subject, in one column."""
        del ctx
        width = max(len(name) for name in self.commands)
        room = formatter.width - width - 6
        for title, names in self._sections.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name.ljust(width), self.commands[name].get_short_help_str(room))
                        for name in names
                    ]
                )

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


class Signed(click.ParamType[int]):
    """A whole number of minor units, which may be negative."""

    name = "amount"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read the number; click may hand over what was read before."""
        if isinstance(value, int):
            return value
        if not re.fullmatch("-?[0-9]{1,30}", value.strip(), re.ASCII) or abs(int(value)) >= 2**63:
            self.fail(f"{shorten(value)} is not a whole number of minor units", param, ctx)
        return int(value)


class Duration(click.ParamType[timedelta]):
    """A number of seconds, minutes, hours or days: ``15m``."""

    name = "duration"

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read the number and its unit; click may hand over what was read before."""
        if isinstance(value, timedelta):
            return value
        read = re.fullmatch(r"0*([1-9][0-9]*)([smhd])", value, re.ASCII)
        if read is None:
            self.fail(
                f"{shorten(value)} is not a duration: a whole number and s, m, h or d, such as 15m",
                param,
                ctx,
            )
        try:
            duration = timedelta(**{_UNITS[read[2]]: int(read[1])})
        except (OverflowError, ValueError):
            duration = timedelta.max
        if duration > LONGEST:
            self.fail(f"{shorten(value)} is longer than {LONGEST.days} days", param, ctx)
        return duration


class Instant(click.ParamType[datetime]):
    """An instant in ISO 8601 with its time zone."""

    name = "instant"
    expected = "an instant in ISO 8601, such as 2030-01-31T12:00Z"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read the instant; a local time would mean another one on each machine."""
        if isinstance(value, datetime):
            return value
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{shorten(value)} is not {self.expected}", param, ctx)
        if read.tzinfo is None:
            self.fail(
                f"{shorten(value)} has no time zone: add Z for UTC, or an offset such as +02:00",
                param,
                ctx,
            )
        try:
            return read.astimezone(UTC)
        except OverflowError:
            self.fail(f"{shorten(value)} is out of range", param, ctx)


class When(Instant):
    """An instant with its time zone, or how long it is until then: ``14d``."""

    name = "when"
    expected = f"a length of time, such as 14d, or {Instant.expected}"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read either; a length counts from now."""
        if isinstance(value, str) and re.fullmatch("[0-9]+[a-z]", value, re.ASCII):
            return from_now(DURATION.convert(value, param, ctx))
        return super().convert(value, param, ctx)


def from_now(duration: timedelta) -> datetime:
    """Return the instant in that time, in whole seconds so that a person can repeat it."""
    return (datetime.now(UTC) + duration).replace(microsecond=0) + timedelta(seconds=1)


class Period(click.ParamType[str]):
    """A day, week, month, quarter or year, or a number of days or months."""

    name = "period"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read it as PostgreSQL and the ledger spell it."""
        read = re.fullmatch(r"0*([1-9][0-9]{0,4}) ?(?:(d|days?)|(months?))", value, re.ASCII)
        if read is not None:
            unit = "day" if read[2] else "month"
            return f"{read[1]} {unit}{'' if read[1] == '1' else 's'}"
        if value not in PERIODS:
            self.fail(
                f"{shorten(value)} is not a period: {', '.join(PERIODS)}, or a number of days or "
                'months, such as 10d or "2 months"',
                param,
                ctx,
            )
        return PERIODS[value]


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
            self.fail(f"{shorten(value)} is not one of {known}, then =, then a column", param, ctx)
        return name, column


class Number(click.ParamType[Decimal]):
    """An exact number above 0."""

    name = "number"

    def convert(
        self, value: str | Decimal, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        """Read the number; click may hand over what was read before."""
        if isinstance(value, Decimal):
            return value
        try:
            read = parse_number(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not read:
            self.fail("0 is not above 0", param, ctx)
        return read


# What is charged times FILE's prices; more without a sign is most likely a percentage.
_HIGHEST_FACTOR = 10


class Markup(Number):
    """A factor of 1 or more, or a percentage on top: ``1.3`` and ``30%`` are the same."""

    name = "markup"

    def convert(
        self, value: str | Decimal, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        """Return the factor; one below 1 was most likely meant to come on top."""
        if isinstance(value, str) and value.endswith("%"):
            try:
                return 1 + parse_number(value.removesuffix("%")).scaleb(-2)
            except ValueError as error:
                self.fail(str(error), param, ctx)
        read = super().convert(value, param, ctx)
        if read < 1:
            self.fail(
                f"{value} is below 1, which is less than FILE says: 30% is what comes on top, and "
                "1.3 is the same",
                param,
                ctx,
            )
        if read > _HIGHEST_FACTOR and not isinstance(value, Decimal):
            self.fail(
                f"{value} would be {value} times what FILE says: write {value}% for so much on "
                f"top, or {show((read - 1).scaleb(2))}% if you mean {value} times",
                param,
                ctx,
            )
        return read


class Units(click.ParamType[tuple[str, Decimal]]):
    """How much of a unit: ``input_token=1200``."""

    name = "unit=number"

    def convert(
        self,
        value: str | tuple[str, Decimal],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, Decimal]:
        """Read both sides; click may hand over what was read before."""
        if isinstance(value, tuple):
            return value
        unit, equals, number = value.rpartition("=")
        if not unit or not equals:
            self.fail(f"{shorten(value)} is not a unit, =, and a number", param, ctx)
        try:
            return unit, parse_number(number)
        except ValueError as error:
            self.fail(f"{shorten(unit)[1:-1]}: {error}", param, ctx)


class UnitColumn(click.ParamType[tuple[str, str]]):
    """Which column of a file counts which unit: ``input_token=prompt_tokens``."""

    name = "unit=column"

    def convert(
        self,
        value: str | tuple[str, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Read both sides; click may hand over what was read before."""
        if isinstance(value, tuple):
            return value
        unit, _, column = value.partition("=")
        if not unit or not column:
            self.fail(f"{shorten(value)} is not a unit, =, and a column", param, ctx)
        return unit, column


AMOUNT = Amount()
COLUMN = Column()
DURATION = Duration()
INSTANT = Instant()
MARKUP = Markup()
METADATA = Metadata()
NUMBER = Number()
PERIOD = Period()
SIGNED = Signed()
UNITS = Units()
UNIT_COLUMN = UnitColumn()
WHEN = When()


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
