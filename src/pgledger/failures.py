"""What can stop a command: its exit code, and the error in words."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

import click
import psycopg
from psycopg import errors

from pgledger.embedded import EmbeddedServerError
from pgledger.errors import LedgerError
from pgledger.migrate import MigrationError
from pgledger.replay import ReplayError
from pgledger.suggestions import units_told


class Exit(IntEnum):
    """The kinds of failure, as exit codes."""

    REFUSED = 1
    USAGE = 2
    DATABASE = 3
    DISAGREES = 4
    MIGRATION = 5
    PROVIDER = 6
    INTERRUPTED = 130
    PIPE_CLOSED = 141


class CommandError(Exception):
    """What stopped a command: in words for a person, in parts for a program."""

    def __init__(
        self,
        message: str,
        code: Exit,
        *,
        hint: str | None = None,
        sqlstate: str | None = None,
        details: Mapping[str, Any] | None = None,
        sentence: str | None = None,
    ) -> None:
        """Keep the parts; ``sentence`` is what a person reads instead of ``message``."""
        super().__init__(sentence or message)
        self.code = code
        self.hint = hint
        self.parts: dict[str, Any] = {
            "sqlstate": sqlstate,
            "message": message,
            "details": dict(details or {}),
            "hint": hint,
        }


def explained(error: BaseException) -> CommandError | None:
    """Return what to tell of an error, or None when it is a defect of this program."""
    if isinstance(error, LedgerError):
        return CommandError(
            error.message,
            Exit.USAGE if error.sqlstate.startswith("22") else Exit.REFUSED,
            hint=error.hint,
            sqlstate=error.sqlstate,
            details=error.details,
            sentence=_refusal(error),
        )
    if isinstance(error, psycopg.Error):
        return _database_failure(error)
    if isinstance(error, click.ClickException):
        return _usage_failure(error)
    for kind, code in _BY_KIND.items():
        if isinstance(error, kind):
            return CommandError(str(error), code)
    return error if isinstance(error, CommandError) else _system_failure(error)


_BY_KIND = {
    EmbeddedServerError: Exit.DATABASE,
    MigrationError: Exit.MIGRATION,
    ReplayError: Exit.USAGE,
}


def _usage_failure(error: click.ClickException) -> CommandError:
    context = getattr(error, "ctx", None)
    hint = f"see {context.command_path if context else 'pgledger'} --help"
    if isinstance(error, click.NoSuchOption) and error.option_name[1:2].isdigit():
        return CommandError(
            f"{error.option_name} is not positive, as amounts are", Exit.USAGE, hint=hint
        )
    # click lists choices one below the other.
    return CommandError(error.format_message().replace("\n\t", " "), Exit.USAGE, hint=hint)


def _system_failure(error: BaseException) -> CommandError | None:
    match error:
        case click.Abort() | KeyboardInterrupt():
            return CommandError("interrupted", Exit.INTERRUPTED)
        case UnicodeEncodeError():
            return CommandError(f"not UTF-8: {error.object!r}", Exit.USAGE)
        case OSError():
            known = (error.filename, error.strerror)
            return CommandError(": ".join(str(part) for part in known if part), Exit.USAGE)
    return None


def _database_failure(error: psycopg.Error) -> CommandError:
    message = error.diag.message_primary or " ".join(str(error).split())
    code, hint = Exit.DATABASE, error.diag.message_hint
    match error:
        case errors.InvalidSchemaName() | errors.UndefinedFunction() | errors.UndefinedTable():
            return CommandError(
                f"the ledger is not installed in this database, or is an older one: {message}",
                Exit.MIGRATION,
                hint="run pgledger migrate",
                sqlstate=error.sqlstate,
            )
        case errors.InsufficientPrivilege():
            hint = "grant this role usage on schema pgledger and execute on its functions"
        case errors.DeadlockDetected() | errors.SerializationFailure():
            hint = "another transaction was in the way: try again"
        case psycopg.DataError():
            code = Exit.USAGE
    return CommandError(message, code, hint=hint, sqlstate=error.sqlstate)


def _refusal(error: LedgerError) -> str:
    """Say a refusal as a sentence, with its figures; all of them are minor units."""
    values = defaultdict(lambda: None, error.details)
    phrase = _PHRASES.get(error.sqlstate)
    if phrase and values["kind"] and values["value"]:
        values["owner"] = (values["recorded"] or values)["account_id"]
        phrase = _PHRASES_OF_IDENTIFIERS[error.sqlstate]
        return f"{error.message}: {phrase.format_map(values)}"
    if phrase is None or (error.sqlstate == "LG002" and "recorded" not in values):
        return str(error)
    if error.sqlstate == "LG001" and values["floor"]:
        phrase = phrase.replace("} available", "} available, may go down to {floor}")
    if error.sqlstate == "LG006" and values["original_key"]:
        values["key"] = values["original_key"]
    if error.sqlstate == "LG006" and values["payment_id"]:
        phrase = "{provider} has told of no {payment_id}"
    if error.sqlstate == "LG009" and values["requested"] is None:
        phrase = phrase.removeprefix("{requested} asked for, ")
    if error.sqlstate == "LG011" and values["unit"]:
        phrase = "{code} has no {unit}; it has {units}"
        values["units"] = units_told(values["unit"], error.details["units"])
    if error.sqlstate == "LG012":
        phrase = phrase.replace("{limit}", _LIMITS[error.details["limit"]])
    if error.sqlstate == "LG002":
        recorded, given = error.details["recorded"], error.details["given"]
        differing = list(_differing(recorded, given))
        values["account_id"] = (
            values["account_id"] or values["payment_id"] or f"plan {values['plan']}"
        )
        values["differing"] = ", ".join(differing) or f"it as {recorded.get('status')}"
    return f"{error.message}: {phrase.format_map(values)}"


def _differing(recorded: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """Say what a repeat gives otherwise than it is recorded; None is what it does not give."""
    usages = (recorded.get("usage"), given.get("usage"))
    for name, value in given.items():
        # The amount of a usage follows from it, and from the prices of the moment.
        follows = name == "usage" or (name == "amount" and any(usages))
        if name in recorded and not follows and value not in (None, recorded[name]):
            yield f"{name} {recorded[name]} where {value} is given"
    if usages[0] != usages[1]:
        yield f"{_movement(recorded)} where {_movement(given) or 'no usage'} is given"


def _movement(side: Mapping[str, Any]) -> str:
    """Say which amount it was, of which usage."""
    words = [] if side.get("amount") is None else [f"amount {side['amount']}"]
    if usage := side.get("usage"):
        used = ", ".join(f"{number} {unit}" for unit, number in sorted(usage["quantities"].items()))
        words.append(f"{used} of {usage['code']}")
    return " for ".join(words)


_PHRASES_OF_IDENTIFIERS = {
    "LG002": "{value} belongs to {owner}",
    "LG003": "nobody is known as {value}",
}
_PHRASES = {
    "LG001": "{account_id} has {available} available, {requested} requested ({missing} missing)",
    "LG002": "{account_id} has recorded {differing}",
    "LG003": "the ledger does not know {account_id}",
    "LG004": "{account_id} is {status}",
    "LG005": "{account_id} has {balance}, the ceiling is {ceiling_balance}",
    "LG006": "{account_id} has none with the key {key!r}",
    "LG007": "{key!r} of {account_id} is {status}",
    "LG008": "{account_id} has used {used} of {cap}, {requested} requested ({remaining} left until "
    "{resets_at})",
    "LG009": "{requested} asked for, {remaining} remain of {original!r} of {account_id}",
    "LG011": "{code} is not sold",
    "LG012": "{account_id} may buy {limit}",
    "22023": "{given!r}",
}
_LIMITS = {
    "minimum": "at least {allowed} at a time, {requested} requested",
    "multiple_of": "multiples of {allowed}, {requested} requested",
    "maximum": "at most {allowed} at a time, {requested} requested",
    "daily_count_limit": "{allowed} times a day, {used} used until {resets_at}",
    "daily_amount_limit": "at most {allowed} a day, {requested} requested ({used} used until "
    "{resets_at})",
}
