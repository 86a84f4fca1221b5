"""Charge usage events from a CSV file, each of them once, however often the file is run.

Each row is one ``spend``. Its key makes a repeat harmless, so the answer to anything that stops a
run half-way (a killed process, a lost connection) is to run the file again. Accounts are shared out
over the connections and the rows of one account stay in the order of the file; what runs short of
credits is therefore what one connection would have found short. As long as credits only go down
meanwhile, a run that was cut off and run again ends as one run would have: a row that was charged
is a replay, and one that was refused meets at most the credits it met before.
"""

import csv
import hashlib
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import batched, chain
from typing import Any, BinaryIO, NoReturn
from zlib import crc32

import psycopg

from pgledger import calls
from pgledger.client import RETRYABLE, Ledger
from pgledger.errors import LedgerError, translate
from pgledger.records import Posting, Shortfall

COLUMNS = ("account", "amount", "key", "reference")
# Rows of one connection in one transaction: enough that a commit costs little, few enough that
# nobody else waits long for an account.
CHUNK_ROWS = 100
ATTEMPTS = 5
# A file may be bad from end to end; what is remembered of it stays small.
PROBLEMS_KEPT = 1000
_MOST = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_UTF8 = re.compile(r"[\ud800-\udfff]")
_REFUSALS = {
    "LG001": "insufficient credits: account {event.account} has {posting.available} available, "
    "{event.amount} requested",
    "LG002": "idempotency conflict: key {event.key} of account {event.account} was used for "
    "another movement",
    "LG004": "account not open: {event.account}",
}

Connect = Callable[[], psycopg.Connection[Any]]


class ReplayError(Exception):
    """The file cannot be replayed at all; nothing was charged."""


@dataclass(frozen=True, slots=True)
class Event:
    """One usage event: a row of the file, ready to be charged."""

    line: int
    account: str
    amount: int
    key: str
    reference: str | None
    metadata: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that was not charged, and why; ``sqlstate`` where it was the ledger that refused."""

    line: int
    reason: str
    sqlstate: str | None = None


@dataclass(slots=True)
class Summary:
    """What became of the rows. ``credits`` are minor units; ``refused`` counts by SQLSTATE.

    ``problems`` names the rows that somebody should look at: bad ones, and those refused for
    another reason than credits that ran short; with ``strict`` those too. The first thousand are
    kept; ``problem_count`` counts all.
    """

    rows: int = 0
    charged: int = 0
    credits: int = 0
    replayed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    rolled_back: bool = False
    seconds: float = 0.0

    def add_problem(self, problem: Problem) -> None:
        """Name a row that somebody should look at."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)

    def add_bad(self, problem: Problem) -> None:
        """Count a row that could never be charged."""
        self.bad += 1
        self.add_problem(problem)

    def undo(self) -> None:
        """Say that all of it was rolled back."""
        self.charged = self.credits = self.replayed = 0
        self.rolled_back = True


def parse_amount(text: str) -> int:
    """Return an amount of minor units: a positive whole number that fits a bigint.

    Raises ValueError, in words for the person who wrote it.
    """
    digits = text.strip()
    shown = shorten(digits)
    if not digits:
        raise ValueError("amount is empty")
    if not re.fullmatch("[0-9]+", digits):
        kind = "positive" if re.fullmatch("-[0-9]+", digits) else "a whole number of minor units"
        raise ValueError(f"amount {shown} is not {kind}")
    digits = digits.lstrip("0")
    if not digits:
        raise ValueError(f"amount {shown} is not positive")
    # Compared by length first: Python refuses to read a number of thousands of digits.
    if len(digits) > len(str(_MOST)) or int(digits) > _MOST:
        raise ValueError(f"amount {shown} is more than a bigint holds ({_MOST})")
    return int(digits)


def shorten(text: str) -> str:
    """Quote a value for a message, whatever is in it and however long it is."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")  # noqa: PLR2004


class UsageFile:
    """A CSV file of usage events, read as a stream: UTF-8, comma-separated, a header first."""

    def __init__(self, file: BinaryIO, names: Mapping[str, str] | None = None) -> None:
        """Read the header. ``names`` says which column is the account, amount, key or reference.

        ``file`` may be a pipe. Raises ReplayError when a column is missing or named twice.
        """
        self._file = file
        self._start = file.tell() if file.seekable() else 0
        self._header: list[bytes] = []
        self._key_prefix = ""
        self._begin()
        try:
            header = next(self._reader, [])
        except csv.Error as error:
            raise ReplayError(f"the first line is not a CSV header: {error}") from error
        self._read_header(header, names or {})

    @property
    def has_keys(self) -> bool:
        """Whether a column gives each event its key."""
        return self._places["key"] is not None

    def rows(self) -> Iterator[Event | Problem]:
        """Yield each row that is not blank, as an event or as a problem with its line."""
        while True:
            line = self._reader.line_num + 1
            try:
                values = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                last = self._reader.line_num
                where = f" (read up to line {last})" if last > line else ""
                yield Problem(line, f"not CSV: {error}{where}")
                continue
            if values:
                try:
                    yield self._event(line, values)
                except ValueError as error:
                    yield Problem(line, str(error))

    def check(self) -> Iterator[Problem]:
        """Read the whole file, yield its problems, and go back to its first row.

        A file without keys gets them here: from all of its content, and the line.
        """
        if not self._file.seekable():
            self._file = _spooled(self._header, self._file)
            self._start = 0
        self._file.seek(self._start)
        digest = hashlib.file_digest(self._file, "sha256").hexdigest()
        self._key_prefix = f"{digest[:32]}:"
        self._rewind()
        for row in self.rows():
            if isinstance(row, Problem):
                yield row
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(self._start)
        self._begin()
        next(self._reader)

    def _begin(self) -> None:
        self.bytes_read = 0
        self._reader = csv.reader(self._lines(), strict=True)

    def _lines(self) -> Iterator[str]:
        lines = iter(self._file)
        if first := next(lines, b""):
            first_text = self._line(first)
            yield first_text.removeprefix("\ufeff")
        for raw in lines:
            yield self._line(raw)

    def _line(self, raw: bytes) -> str:
        self.bytes_read += len(raw)
        if not hasattr(self, "_names"):
            self._header.append(raw)  # a pipe cannot be read again
        # Bytes that are not UTF-8 become surrogates, so that their row can be named.
        return raw.decode("utf-8", "surrogateescape")

    def _read_header(self, header: Sequence[str], names: Mapping[str, str]) -> None:
        if not header:
            raise ReplayError("the file is empty: its first line must name the columns")
        if any(_CONTROL.search(name) or _NOT_UTF8.search(name) for name in header):
            raise ReplayError("the first line is not a CSV header in UTF-8")
        # What pandas and spreadsheets leave unnamed is known by its place.
        self._names = [name.strip() or f"column_{n}" for n, name in enumerate(header, start=1)]
        found = ", ".join(shorten(name)[1:-1] for name in self._names)
        twice = [name for name, count in Counter(self._names).items() if count > 1]
        if twice:
            raise ReplayError(f"column {shorten(twice[0])} is there twice; found: {found}")
        self._places: dict[str, int | None] = {}
        for column in COLUMNS:
            name = names.get(column, column)
            if name in self._names:
                self._places[column] = self._names.index(name)
            elif column in names or column in {"account", "amount"}:
                raise ReplayError(
                    f"there is no column {shorten(name)}; found: {found}. "
                    f"Name the one to use: --map {column}=COLUMN"
                )
            else:
                self._places[column] = None
        used = set(self._places.values())
        self._rest = [(n, name) for n, name in enumerate(self._names) if n not in used]

    def _event(self, line: int, values: Sequence[str]) -> Event:
        if len(values) != len(self._names):
            raise ValueError(f"{len(values)} fields, where the header has {len(self._names)}")
        for name, value in zip(self._names, values, strict=True):
            if _NOT_UTF8.search(value):
                raise ValueError(f"{shorten(name)[1:-1]} is not UTF-8")
            if "\0" in value:
                raise ValueError(f"{shorten(name)[1:-1]} has a NUL character")
        account, amount, key, reference = (
            None if place is None else values[place] for place in self._places.values()
        )
        return Event(
            line,
            _label("account", account or ""),
            parse_amount(amount or ""),
            f"{self._key_prefix}{line}" if key is None else _key(key),
            _label("reference", reference) if reference else None,
            {name: values[n] for n, name in self._rest} or None,
        )


def replay(
    usage: UsageFile,
    connect: Connect,
    summary: Summary,
    *,
    connections: int = 1,
    shortfall: Shortfall | None = None,
    strict: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Charge each event of ``usage`` once, counting into ``summary``.

    ``connect`` opens an autocommit connection. ``strict`` charges every row or, when one cannot be
    charged for whatever reason, none: one connection, one transaction. Without it, a file without
    a column of keys is charged only when no row of it is bad: mending it would change its keys.
    ``progress`` is told how many bytes of the file have been dealt with.

    Raises psycopg.Error when the database fails; what was charged by then stays charged, and is a
    replay when the file is run again. Raises ReplayError for a bad file without keys.
    """
    began = time.monotonic()
    try:
        if strict or not usage.has_keys:
            for problem in usage.check():
                summary.add_bad(problem)
            if summary.bad:
                if strict:
                    summary.undo()
                    return
                raise ReplayError(
                    "nothing was charged: the file has bad rows and no column of keys. Its keys "
                    "are made from its content, so after mending it every row would be charged "
                    "again. Mend it first, or add a column that gives each event its own key."
                )
        if strict:
            _all_or_nothing(usage, connect, summary, shortfall, progress)
        else:
            _shared_out(usage, connect, summary, connections, shortfall, progress)
    finally:
        summary.problems.sort(key=lambda problem: problem.line)
        summary.seconds = time.monotonic() - began


def _shared_out(
    usage: UsageFile,
    connect: Connect,
    summary: Summary,
    count: int,
    shortfall: Shortfall | None,
    progress: Callable[[int], None] | None,
) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(connect()) for _ in range(count)]
        threads = stack.enter_context(ThreadPoolExecutor(count))
        running: list[Future[list[Outcome]]] = []
        try:
            for rows in batched(chain(usage.rows(), [None]), CHUNK_ROWS * count):
                # While the database works on one batch the next is read, and then waits for it:
                # an account's rows must not overtake each other.
                shares: list[list[Event]] = [[] for _ in range(count)]
                for event in _events(rows, summary):
                    shares[crc32(event.account.encode()) % count].append(event)
                read = usage.bytes_read
                _count(running, summary)
                running = [
                    threads.submit(_charge, connection, share, shortfall)
                    for connection, share in zip(opened, shares, strict=True)
                    if share
                ]
                if progress:
                    progress(read)
            _count(running, summary)
        except BaseException:
            for connection in opened:
                connection.cancel_safe()
            raise


def _all_or_nothing(
    usage: UsageFile,
    connect: Connect,
    summary: Summary,
    shortfall: Shortfall | None,
    progress: Callable[[int], None] | None,
) -> None:
    with connect() as connection, connection.transaction() as transaction:
        for rows in batched(usage.rows(), CHUNK_ROWS):
            events = _events(rows, summary)
            try:
                outcomes = [*zip(events, _send(connection, events, shortfall), strict=True)]
            except psycopg.Error as error:
                refusal = translate(error)
                if refusal is None:
                    raise
                # Which row it was is found by charging them one by one, in a savepoint each.
                _name_the_bad(connection, events, shortfall, summary)
            else:
                for event, posting in outcomes:
                    _note(summary, event, posting, strict=True)
            if summary.problem_count:
                summary.undo()
                raise psycopg.Rollback(transaction)
            if progress:
                progress(usage.bytes_read)


Outcome = tuple[Event, Posting | LedgerError]


def _events(rows: Sequence[Event | Problem | None], summary: Summary) -> list[Event]:
    events = []
    for row in rows:
        if row is not None:
            summary.rows += 1
        if isinstance(row, Problem):
            summary.add_bad(row)
        elif row is not None:
            events.append(row)
    # Accounts are locked in the order in which everybody else locks several: code points sort as
    # UTF-8 does, as collate "C" does. The sort is stable, so an account's rows stay in order.
    events.sort(key=lambda event: event.account)
    return events
