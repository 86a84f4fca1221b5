"""What a call is, and how it is made of a function's name, its arguments and a record."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from operator import index
from typing import Any, Generic, TypeVar

from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int8

from pgledger.errors import InvalidArgumentError
from pgledger.records import Posting

Metadata = Mapping[str, Any]
# How much of each unit was used, or what one of it costs: exact, never a float.
Quantities = Mapping[str, int | Decimal]
# A month is no timedelta: "1 month", "7 days", as PostgreSQL reads it.
Period = str | timedelta
Rows = Sequence[tuple[Any, ...]]
Result = TypeVar("Result")
Record = TypeVar("Record")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One call of a SQL function: what to send, and what to make of the rows."""

    query: bytes
    arguments: Mapping[str, Any]
    result: Callable[[Rows], Result]


def whole(name: str, value: int) -> int:
    """Return any integer as an int; never a float, nor a bool, which is one by accident."""
    if type(value) is int:
        return value
    if not isinstance(value, bool):
        with suppress(TypeError):
            return index(value)
    raise TypeError(f"{name}: {value!r} is no int")


def bigint(name: str, value: int | None) -> Int8 | None:
    """Send any integer as one type, so that a statement is prepared once."""
    return None if value is None else Int8(whole(name, value))


def integer(name: str, value: int | None) -> str | None:
    """Send what is no bigint, a priority, as text: psycopg would cut off what is too large."""
    return None if value is None else str(whole(name, value))


def text(name: str, value: str | None) -> str | None:
    """Send any text as one type: an array is of the type of its first element."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name}: {value!r} is no text")
    return value if value is None else str.__str__(value)


def instant(name: str, value: datetime | None) -> datetime | None:
    """Refuse a naive time, which would mean another instant in each session."""
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, such as datetime.now(tz=UTC)")
    return value


def mapping(name: str, value: Mapping[str, Value]) -> dict[str, Value]:
    """Return an object as it is now, whatever becomes of it later."""
    try:
        return dict(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: {value!r} is no mapping") from None


def jsonb(name: str, value: Metadata | None) -> Jsonb | None:
    """Send an object as one."""
    return None if value is None else Jsonb(mapping(name, value))


def numbers(name: str, value: Quantities | None) -> Jsonb | None:
    """Send exact numbers by unit as an object."""
    if value is None:
        return None
    # Made by hand, because json knows no Decimal.
    parts = (f"{json.dumps(unit)}: {number}" for unit, number in exact(name, value).items())
    return Jsonb(f"{{{', '.join(parts)}}}", dumps=str)


def exact(name: str, value: Quantities) -> dict[str, int | Decimal]:
    """Return numbers by unit as they are now; never a float."""
    return {
        unit if type(unit) is str else str(text(name, unit)): (
            number if type(number) is int else _exact(name, unit, number)
        )
        for unit, number in mapping(name, value).items()
    }


def _exact(name: str, unit: str, number: int | Decimal) -> int | Decimal:
    """Refuse what is not exact, naming the unit: the function would tell of the whole object."""
    if not isinstance(number, Decimal):
        if not isinstance(number, bool):
            with suppress(TypeError):
                return index(number)
        raise TypeError(f"{name}: {unit} is {number!r}, not an int or Decimal")
    if not number.is_finite():
        raise InvalidArgumentError(
            f"{name}: {unit} is {number}, not a finite number",
            sqlstate="22023",
            details={"argument": name, "unit": unit, "value": str(number)},
            hint="Give how much of each unit as an int or a Decimal.",
        )
    return number


def posting(function: str, required: Mapping[str, object], **optional: object) -> Call[Posting]:
    """Call a function that posts, announces or settles."""
    return one(Posting, function, required, **optional)


def many(
    record: type[Record], function: str, required: Mapping[str, object], **optional: object
) -> Call[list[Record]]:
    """Call a function that answers with any number of rows."""
    given = _given(required, optional)
    return Call(
        _query(record, function, tuple(given)),  # type: ignore[arg-type] # a class hashes
        given,
        result=_reader(record),  # type: ignore[arg-type] # a class hashes
    )


def one(
    record: type[Record], function: str, required: Mapping[str, object], **optional: object
) -> Call[Record]:
    """Call a function that answers with exactly one row."""
    found = many(record, function, required, **optional)
    return Call(found.query, found.arguments, lambda rows: found.result(rows)[0])


def first(found: Call[list[Record]]) -> Call[Record | None]:
    """Make of a call with one row or none that row, or None."""
    return Call(found.query, found.arguments, lambda rows: next(iter(found.result(rows)), None))


def scalar(function: str, required: Mapping[str, object], **optional: object) -> Call[Any]:
    """Call a function that answers with a value."""
    given = _given(required, optional)
    return Call(
        f"select {_function(function, tuple(given))}".encode(),
        given,
        result=lambda rows: rows[0][0],
    )


# The parameters that take text, by name, in whichever function.
TEXTS = frozenset(
    (
        "account_id",
        "act",
        "actor",
        "after_code",
        "anchor",
        "before_account_id",
        "before_key",
        "check_id",
        "code",
        "currency",
        "customer",
        "dispute_id",
        "event_id",
        "external_id",
        "from_account_id",
        "identifier",
        "key",
        "kind",
        "mode",
        "original_key",
        "payload",
        "payment_id",
        "payment_method",
        "plan",
        "policy",
        "price_currency",
        "provider",
        "reason",
        "reference",
        "refund_id",
        "request_key",
        "result",
        "return_id",
        "rounding",
        "shortfall",
        "status",
        "time_zone",
        "to_account_id",
        "type",
    )
)


def _given(required: Mapping[str, object], optional: Mapping[str, object]) -> dict[str, object]:
    """Leave out what was not given, since the defaults live in SQL; SQL judges what it requires.

    But for what is no text where one belongs: PostgreSQL would find no such function.
    """
    given = {**required, **{name: value for name, value in optional.items() if value is not None}}
    for name, value in given.items():
        if name in TEXTS and not isinstance(value, str) and value is not None:
            raise TypeError(f"{name}: {value!r} is no text")
    return given


# psycopg sends a list of texts as text[], which PostgreSQL casts to another array only when told.
_CASTS = {"types": "::pgledger.transaction_type[]", "priorities": "::integer[]"}

# The columns are a record's fields, by name and in its order, so a row fits its constructor. All
# names come from this package and records.py, never from a caller.


@cache
def _query(record: type[object], function: str, names: tuple[str, ...]) -> bytes:
    columns = ", ".join(
        field.metadata.get("column", field.name)
        for field in fields(record)  # type: ignore[arg-type]
    )
    return f"select {columns} from {_function(function, names)}".encode()  # noqa: S608


@cache
def _reader(record: type[Record]) -> Callable[[Rows], list[Record]]:
    reads = {
        place: field.metadata["read"]
        for place, field in enumerate(fields(record))  # type: ignore[arg-type]
        if "read" in field.metadata
    }
    if not reads:
        return lambda rows: [record(*row) for row in rows]
    return lambda rows: [
        record(*(reads[place](cell) if place in reads else cell for place, cell in enumerate(row)))
        for row in rows
    ]


def _function(function: str, names: tuple[str, ...]) -> str:
    arguments = ", ".join(f"{name} => %({name})s{_CASTS.get(name, '')}" for name in names)
    return f"pgledger.{function}({arguments})"
