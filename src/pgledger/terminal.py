"""What the command line shows: amounts, tables, JSON, and the answers of the ledger."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from textwrap import wrap
from typing import Any, BinaryIO, TypeVar

import click
import psycopg
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pgledger.client import Ledger
from pgledger.demo import Step
from pgledger.failures import CommandError
from pgledger.pricing import show
from pgledger.records import (
    AuditEntry,
    AutoTopUp,
    Balance,
    ClaimedEvent,
    Event,
    Posting,
    Transaction,
)
from pgledger.replay import Summary

Row = TypeVar("Row")
# Columns that are not folded, as numbers are not.
WHOLE = {"at (UTC)", "expires (UTC)", "item", "type"}


@dataclass(frozen=True, slots=True)
class Unit:
    """A currency, as it is shown."""

    code: str
    exponent: int = 0

    def show(self, amount: int) -> str:
        """Return minor units as a decimal number: 1250 with exponent 2 is 12.50."""
        if not self.exponent:
            return str(amount)
        digits = str(abs(amount)).zfill(self.exponent + 1)
        sign = "-" if amount < 0 else ""
        return f"{sign}{digits[: -self.exponent]}.{digits[-self.exponent :]}"

    def name(self, amount: int) -> str:
        """Return an amount with its currency, and in minor units where that differs."""
        minor = f" ({amount} minor units)" if self.exponent else ""
        return f"{self.show(amount)} {self.code}{minor}"


def show_failure(failure: CommandError, *, as_json: bool) -> None:
    """Tell what stopped a command: as JSON that is the answer, in words it is not."""
    if as_json:
        # A line, because it may be the last of many.
        say_json_line({"error": failure.parts})
        return
    click.echo(f"error: {printable(str(failure))}", err=True)
    if failure.hint:
        click.echo(f"hint: {printable(failure.hint)}", err=True)


def unit_of(ledger: Ledger, currency: str | None) -> Unit:
    """Return how a currency is shown; in minor units for whom the table is out of reach."""
    code = currency or "CREDIT"
    try:
        row = ledger.connection.execute(
            "select exponent from pgledger.currencies where code = %s", [code]
        ).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        row = None
    if row is None:
        return Unit(code if code == "CREDIT" else f"minor units of {code}")
    return Unit(code, row[0])


def say(*lines: str) -> None:
    """Write lines for a person."""
    for line in lines:
        click.echo(printable(line))


def say_json(value: object) -> None:
    """Write one JSON document: records as objects, times as ISO 8601 in UTC."""
    click.echo(json.dumps(value, default=_plain, indent=2))


def say_json_line(value: object) -> None:
    """Write one JSON document of many as a line, at once: who reads it may be waiting."""
    click.echo(json.dumps(value, default=_plain))
    sys.stdout.flush()


def say_table(
    columns: Mapping[str, bool],
    rows: Sequence[Sequence[object]],
    *,
    header: bool = True,
    indent: int = 0,
) -> None:
    """Write a table; ``columns`` tells of each whether it is of numbers, aligned to the right.

    On a terminal long texts are folded into its width. Elsewhere every row is one line.
    """
    cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        _say_plainly(columns, [list(columns), *cells] if header else cells, indent)
        return
    console.width -= indent
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=header)
    for name, is_number in columns.items():
        table.add_column(
            Text(name, style="bold"),
            justify="right" if is_number else "left",
            no_wrap=is_number or name in WHOLE,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*map(Text, row))
    unlimited = console.options.update(width=sys.maxsize)
    if console.is_terminal and console.measure(table, options=unlimited).maximum > console.width:
        table.padding = (0, 1, 0, 0)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(f"{' ' * indent}{line}".rstrip())


def _say_plainly(columns: Mapping[str, bool], lines: Sequence[Sequence[str]], indent: int) -> None:
    """Write a table of one line a row, however long it is, and however many there are."""
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = [
            " " * (width - cell_len(cell)) + cell if is_number else set_cell_size(cell, width)
            for cell, width, is_number in zip(line, widths, columns.values(), strict=True)
        ]
        click.echo((" " * indent + "  ".join(padded)).rstrip().replace("\n", "\\n"))


def say_columns(
    columns: Mapping[str, tuple[bool, Callable[[Row], object]]],
    rows: Sequence[Row],
    *,
    always: Collection[str] = (),
    indent: int = 0,
) -> None:
    """Write a table of records, without the columns that no row has: they only take room."""
    shown = {
        name: column
        for name, column in columns.items()
        if name in always or any(column[1](row) for row in rows)
    }
    say_table(
        {name: is_number for name, (is_number, _) in shown.items()},
        [[value(row) for _, value in shown.values()] for row in rows],
        indent=indent,
    )


def printable(text: str) -> str:
    """Show what would steer a terminal, or cannot be encoded, as an escape."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def when(instant: datetime) -> str:
    """Return an instant as a person reads it; the column says that it is UTC."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def until(instant: datetime | None) -> str:
    """Return when a lot expires."""
    return "never" if instant is None else when(instant)


def iso(instant: datetime) -> str:
    """Return an instant as a command reads it again."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Decimal):
        # In digits, as a string: most that read JSON make a float of a number.
        return show(value)
    return str(value)


def show_balance(found: Balance, unit: Unit) -> None:
    """Show what an account has; its floors only where it has any."""
    say(f"{found.account_id} is {found.status}")
    amounts = {"balance": found.balance, "held": found.held, "available": found.available}
    floors = {"min_balance": found.min_balance, "debt_floor": found.debt_floor}
    amounts |= {name: floor for name, floor in floors.items() if floor}
    columns = {"name": False, "amount": True, "currency": False}
    if unit.exponent:
        columns |= {"minor": True, "units": False}
    say_table(
        columns,
        [
            (name, unit.show(amount), unit.code, amount, "minor units")[: len(columns)]
            for name, amount in amounts.items()
        ],
        header=False,
    )
    if found.next_expiry_at is not None and found.next_expiry_amount is not None:
        say(f"{unit.name(found.next_expiry_amount)} expire at {iso(found.next_expiry_at)}")


def show_posting(
    posting: Posting,
    unit: Unit,
    *,
    done: str | None = None,
    to: str | None = None,
    until: str | None = None,
) -> None:
    """Say what a posting did; ``done`` in a better word than its type tells."""
    amount = unit.name(abs(posting.amount))
    if posting.requested_amount not in {None, posting.amount}:
        amount += f" of the {unit.show(abs(posting.requested_amount or 0))} asked for"
    deed, preposition = _deed(posting)
    say(
        f"{done or deed} {amount} {preposition} {posting.account_id}"
        + (f" to {to}" if to is not None else "")
        + (", before: this is a repeat and changed nothing" if posting.replayed else ""),
        f"available {unit.name(posting.available)}; "
        + (f"seq {posting.seq}, " if posting.seq else "")
        + f"key {posting.key}",
    )
    gone = 0 if posting.replayed else (posting.running_balance or 0) - posting.balance
    if posting.amount > 0 and gone > 0:
        say(f"{unit.name(gone)} of it expired at once: the lot has ended")
    if posting.status == "PENDING":
        named = shlex.join([posting.account_id, posting.key or ""])
        if posting.amount > 0:
            say(f"not effective before: pgledger enable {named}")
        else:
            say(
                f"reserved {f'until {until}' if until else 'without an end'}; "
                f"then: pgledger capture {named}"
            )


def _deed(posting: Posting) -> tuple[str, str]:
    credited = posting.amount > 0
    what = posting.status if posting.seq is None else posting.type
    return _DEEDS.get(str(what), (("credited", "to"), ("spent", "from")))[0 if credited else 1]


# Of a credit, and of a debit.
_DEEDS = {
    "PENDING": (("announced", "to"), ("held", "of")),
    "CANCELLED": (("cancelled", "to"), ("released", "of")),
    "EXPIRED": (("expired:", "to"), ("expired:", "of")),
    "REFUND": (("refunded", "to"), ("refunded", "from")),
    "REVERSAL": (("gave back", "to"), ("took back", "from")),
    "TRANSFER": (("transferred", "to"), ("transferred", "from")),
}


ROUNDED = {
    "CEIL": "rounded up",
    "FLOOR": "rounded down",
    "HALF_EVEN": "rounded to the nearest, half to even",
}


def show_breakdown(
    breakdown: Mapping[str, Mapping[str, Decimal]], exact: Decimal, cost: int, rounding: str
) -> None:
    """Show what a usage costs unit by unit, and how the sum became whole minor units."""
    names = ("quantity", "credits_per_unit", "credits")
    lines = [(unit, *(show(part[name]) for name in names)) for unit, part in breakdown.items()]
    say_table(
        {"unit": False, "quantity": True, "credits each": True, "credits": True},
        [*sorted(lines), ("sum", None, None, show(exact))],
    )
    if exact != cost:
        say(f"{show(exact)} is {ROUNDED[rounding]} to {cost}")


def show_history(
    page: Sequence[Transaction], unit: Unit, *, without: Collection[str] = (), indent: int = 0
) -> None:
    """Show a page of the journal, ``without`` some of its columns."""
    columns: dict[str, tuple[bool, Callable[[Transaction], object]]] = {
        "seq": (True, lambda row: row.seq),
        "at (UTC)": (False, lambda row: when(row.created_at)),
        "type": (False, lambda row: row.type),
        "amount": (True, lambda row: unit.show(row.amount)),
        "balance": (True, lambda row: unit.show(row.running_balance or 0)),
        "key": (False, lambda row: row.key),
        "reference": (False, lambda row: row.reference),
        "external": (False, lambda row: row.external_id),
        "note": (False, lambda row: _note(row, unit)),
    }
    shown = {name: column for name, column in columns.items() if name not in without}
    say_columns(shown, page, always={"amount", "balance"}, indent=indent)
    if not indent:
        say(
            f"amounts in {unit.code}"
            + (f"; 1 minor unit is {unit.show(1)}" if unit.exponent else "")
        )


def _note(row: Transaction, unit: Unit) -> str | None:
    """Say of a movement what its figures do not: what it undoes, who else has a part in it."""
    if row.original_seq is not None:
        return f"{'ends' if row.type == 'EXPIRY' else 'undoes'} #{row.original_seq}"
    if row.counterparty is not None:
        return f"{'to' if row.amount < 0 else 'from'} {row.counterparty}"
    if row.requested_amount != row.amount:
        return f"of {unit.show(abs(row.requested_amount))} asked"
    return None


def show_auto_top_up(settings: AutoTopUp, unit: Unit) -> None:
    """Show when an account tops itself up, and what holds it back now."""
    instant = settings.mode == "INSTANT"
    say(
        f"below {unit.name(settings.threshold)} available, {settings.account_id} "
        f"{'is topped up with' if instant else 'asks for'} {unit.name(settings.amount)}"
    )
    limits = {
        "a day": (settings.daily_count_limit, settings.daily_amount_limit),
        "a month": (settings.monthly_count_limit, settings.monthly_amount_limit),
    }
    for period, (count, amount) in limits.items():
        if count is not None:
            say(f"at most {count} {'time' if count == 1 else 'times'} {period}")
        if amount is not None:
            say(f"at most {unit.name(amount)} {period}")
    if not settings.enabled:
        say("now: disabled")
    elif settings.waiting_for is not None:
        named = shlex.join([settings.account_id, settings.waiting_for])
        say(
            f"now: waiting for {settings.waiting_for} to be enabled or cancelled",
            f"then: pgledger enable {named}",
        )
    elif settings.resumes_at is not None:
        say(f"now: at a limit until {iso(settings.resumes_at)}")
    else:
        say("now: armed")


def show_event(event: ClaimedEvent | Event) -> None:
    """Show an event of the outbox."""
    facts = ", ".join(
        f"{name} {value}" for name, value in event.payload.items() if value is not None
    )
    say_folded(f"{when(event.created_at)}  {event.kind}  {event.account_id}", facts)


def show_audit_entry(entry: AuditEntry) -> None:
    """Show what somebody did, as an event is shown."""
    concerned = f"{entry.account_id}  " if entry.account_id else ""
    facts = ", ".join(
        f"{name} {given if isinstance(given, str) else json.dumps(given)}"
        for name, given in entry.arguments.items()
    )
    say_folded(f"{when(entry.created_at)}  {entry.act}  {concerned}by {entry.actor}", facts)


def say_folded(head: str, facts: str) -> None:
    """Write one line; on a terminal that is narrower the facts are folded below the head."""
    line = f"{head}  {facts}".rstrip()
    width = shutil.get_terminal_size().columns
    if sys.stdout.isatty() and len(line) > width:
        say(head, *wrap(facts, width, initial_indent="  ", subsequent_indent="  "))
    else:
        say(line.replace("\n", "\\n"))
    sys.stdout.flush()


@contextmanager
def progress(file: BinaryIO) -> Iterator[Callable[[int], None] | None]:
    """Show how far the file is read, to a person who waits for it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    total = os.fstat(file.fileno()).st_size if file.seekable() else None
    bar = Progress(
        BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), console=console, transient=True
    )
    with bar:
        task = bar.add_task("charging", total=total)
        yield lambda done: bar.update(task, completed=done)


def show_step(number: int, step: Step) -> None:
    """Show a step of the demonstration, and the end of the journal after it."""
    say(*wrap(f"{number}. {step.title}", 80, subsequent_indent="    "))
    for deed in step.deeds:
        say(*wrap(deed.call, 80, initial_indent="   ", subsequent_indent="     "))
        say(*wrap(f"-> {deed.answer}", 80, initial_indent="     ", subsequent_indent="        "))
    if step.history:
        say("")
        show_history(step.history, Unit("CREDIT"), without={"at (UTC)"}, indent=3)
        now = step.balance
        say(f"   balance {now.balance}, held {now.held}, available {now.available}")
    say("")


def summary_record(summary: Summary) -> dict[str, Any]:
    """Return a summary as it is shown to a program."""
    return {
        "rows": summary.rows,
        "charged": summary.charged,
        "credits": summary.credits,
        "replayed": summary.replayed,
        "refused": dict(summary.refused),
        "bad": summary.bad,
        "rolled_back": summary.rolled_back,
        "problem_count": summary.problem_count,
        "problems": [asdict(problem) for problem in summary.problems],
        "seconds": round(summary.seconds, 3),
        "rows_per_second": round(_rate(summary)),
    }


def _rate(summary: Summary) -> float:
    return summary.rows / summary.seconds if summary.seconds else 0.0


_LINES_NAMED = 3


def show_problems(summary: Summary) -> None:
    """Name the rows that somebody should look at, on stderr, once for each reason."""
    lines: dict[str, list[str]] = {}
    for problem in summary.problems:
        lines.setdefault(problem.reason, []).append(str(problem.line))
    for reason, where in lines.items():
        named, count = where[:_LINES_NAMED], summary.reasons[reason]
        others = f" and {count - len(named)} more" if count > len(named) else ""
        click.echo(
            f"line{'s' if count > 1 else ''} {', '.join(named)}{others}: {printable(reason)}",
            err=True,
        )
    if more := summary.problem_count - summary.reasons.total():
        click.echo(f"and {more} more", err=True)


def show_summary(summary: Summary) -> None:
    """Show what became of the rows."""
    if summary.rolled_back:
        click.echo("nothing was charged: --strict charges every row or none", err=True)
    refused = [
        (f"refused, {code}", count, "insufficient credits" if code == "LG001" else "see above")
        for code, count in sorted(summary.refused.items())
    ]
    say_table(
        {"what": False, "count": True, "more": False},
        [
            ("rows", summary.rows, f"in {summary.seconds:.1f} s, {_rate(summary):.0f} a second"),
            ("charged", summary.charged, f"{summary.credits} credits in minor units"),
            ("replayed", summary.replayed, "charged before, by the same key"),
            *refused,
            ("bad", summary.bad, "see above" if summary.bad else ""),
        ],
        header=False,
    )
