"""What the command line shows: amounts, tables, JSON, and the answers of the ledger."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any, BinaryIO

import click
import psycopg
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from pgledger.client import Ledger
from pgledger.demo import Step
from pgledger.failures import CommandError
from pgledger.records import Balance, Posting, Transaction
from pgledger.replay import Summary


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
        say_json({"error": failure.parts})
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


def say_table(
    columns: Mapping[str, bool], rows: Sequence[Sequence[object]], *, header: bool = True
) -> None:
    """Write a table; ``columns`` tells of each whether it is of numbers, aligned to the right.

    On a terminal long texts are folded into its width. Elsewhere every row is one line.
    """
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        longest = max((len(str(cell)) for row in rows for cell in row), default=0)
        console.width = (longest + 20) * (len(columns) + 1)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=header)
    for name, is_number in columns.items():
        table.add_column(
            Text(name, style="bold"),
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def printable(text: str) -> str:
    """Show what would steer a terminal, or cannot be encoded, as an escape."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def when(instant: datetime) -> str:
    """Return an instant as a person reads it; the column says that it is UTC."""
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
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


def show_posting(posting: Posting, unit: Unit) -> None:
    """Say what a posting did."""
    credited = posting.amount > 0
    amount = unit.name(abs(posting.amount))
    if posting.requested_amount not in {None, posting.amount}:
        amount += f" of the {unit.show(abs(posting.requested_amount or 0))} asked for"
    done = "credited" if credited else "spent"
    if posting.seq is None:
        done = "announced" if posting.status == "PENDING" else posting.status.lower()
    say(
        f"{done} {amount} {'to' if credited else 'from'} {posting.account_id}"
        + (", before: this is a repeat and changed nothing" if posting.replayed else ""),
        f"available {unit.name(posting.available)}; "
        + (f"seq {posting.seq}, " if posting.seq else "")
        + f"key {posting.key}",
    )
    if posting.status == "PENDING":
        say("not effective before pgledger.enable_transaction(account, key)")


def show_history(page: Sequence[Transaction], unit: Unit) -> None:
    """Show a page of the journal."""
    columns: dict[str, tuple[bool, Callable[[Transaction], object]]] = {
        "seq": (True, lambda row: row.seq),
        "at (UTC)": (False, lambda row: when(row.created_at)),
        "type": (False, lambda row: row.type),
        "amount": (True, lambda row: unit.show(row.amount)),
        "balance": (True, lambda row: unit.show(row.running_balance or 0)),
        "key": (False, lambda row: row.key),
        "reference": (False, lambda row: row.reference),
        "external": (False, lambda row: row.external_id),
    }
    # What no row has only takes room.
    shown = {
        name: column
        for name, column in columns.items()
        if name not in {"reference", "external"} or any(column[1](row) for row in page)
    }
    say_table(
        {name: is_number for name, (is_number, _) in shown.items()},
        [[value(row) for _, value in shown.values()] for row in page],
    )
    say(f"amounts in {unit.code}" + (f"; 1 minor unit is {unit.show(1)}" if unit.exponent else ""))


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
    """Show a step of the demonstration."""
    say(f"{number}. {step.title}")
    for event in step.events:
        say(*wrap(event.call, 80, initial_indent="   ", subsequent_indent="     "))
        say(f"     -> {event.answer}")
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


def show_problems(summary: Summary) -> None:
    """Name the rows that somebody should look at, on stderr."""
    for problem in summary.problems:
        click.echo(f"line {problem.line}: {printable(problem.reason)}", err=True)
    if more := summary.problem_count - len(summary.problems):
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
