"""Charge usage events from a CSV file, each of them once, however often the file is run.

Each row is a spend, posted in one call with a thousand others. Its key makes a repeat harmless, so
the answer to anything that stops a run half-way (a killed process, a lost connection) is to run the
file again. Accounts are shared out over the connections and the rows of one account stay in the
order of the file; what runs short of credits is therefore what one connection would have found
short. As long as credits only go down meanwhile, a run that was cut off and run again ends as one
run would have: a row that was charged is a replay, and one that was refused meets at most the
credits it met before.
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
from decimal import Decimal
from itertools import count, islice
from typing import Any, BinaryIO
from zlib import crc32

import psycopg

from pgledger.calls import BatchItem
from pgledger.client import Ledger
from pgledger.errors import RETRYABLE, refusal_of
from pgledger.pricing import parse_number
from pgledger.records import Posting, Shortfall
from pgledger.suggestions import units_told

COLUMNS = ("account", "amount", "code", "key", "reference")
# Rows of one connection in one transaction: enough that a commit costs little, few enough that
# nobody else waits long for an account.
CHUNK_ROWS = 1000
ATTEMPTS = 5
# A file may be bad from end to end; what is remembered of it stays small.
PROBLEMS_KEPT = 1000
LONGEST_LABEL = 255
SHORT_OF_CREDITS = "LG001"
MISUSE = "22"
_MOST = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_UTF8 = re.compile(r"[\ud800-\udfff]")
_REFUSALS = {
    "LG001": "insufficient credits: account {event.account} has {answer.available} available, "
    "{requested} requested",
    "LG002": "idempotency conflict: key {event.key} of account {event.account} was used for "
    "another movement",
    "LG004": "account not open: {event.account}",
    "LG008": "spending cap reached: account {event.account}, {requested} requested",
    "LG011": "price not found: {missing}",
}


_USELESS = {
    "amount": "there is no use for it where --quantity says what was used",
    "code": "there is no use for it without --quantity, or with --usage",
}
# What does without a column.
_OTHERWISE = {
    "amount": ", or --quantity UNIT=COLUMN where a row says what was used",
    "code": ", or --usage CODE where all rows are of one",
}


class ReplayError(Exception):
    """The file cannot be replayed at all; nothing was charged."""


@dataclass(frozen=True, slots=True)
class Event:
    """One usage event: a row of the file, ready to be charged; an amount, or what was used."""

    line: int
    account: str
    amount: int | None
    key: str
    reference: str | None
    metadata: dict[str, str] | None
    code: str | None = None
    quantities: dict[str, Decimal] | None = None


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
    kept, and the first of each of a thousand ``reasons``, which are counted; ``problem_count``
    counts all.
    """

    rows: int = 0
    charged: int = 0
    credits: int = 0
    replayed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    problem_count: int = 0
    problems: list[Problem] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    rolled_back: bool = False
    seconds: float = 0.0

    def add_row(self, row: Event | Problem) -> None:
        """Count a row as it is read."""
        self.rows += 1
        if isinstance(row, Problem):
            self.bad += 1
            self._name(row)

    def add_outcome(self, event: Event, answer: Posting, *, strict: bool = False) -> None:
        """Count what the ledger answered."""
        if answer.refusal and answer.refusal.startswith(MISUSE):
            self.bad += 1
            error = refusal_of(answer)
            reason = f"{error.message}: {error.hint}" if error.hint else error.message
            self._name(Problem(event.line, reason, error.sqlstate))
        elif answer.refusal:
            self.refused[answer.refusal] += 1
            if strict or answer.refusal != SHORT_OF_CREDITS:
                self._name(Problem(event.line, _refusal(event, answer), answer.refusal))
        elif answer.replayed:
            self.replayed += 1
        else:
            self.charged += 1
            self.credits -= answer.amount

    def undo(self) -> None:
        """Say that all of it was rolled back."""
        self.charged = self.credits = self.replayed = 0
        self.rolled_back = True

    def _name(self, problem: Problem) -> None:
        self.problem_count += 1
        is_new = problem.reason not in self.reasons
        if is_new and len(self.reasons) == PROBLEMS_KEPT:
            return
        self.reasons[problem.reason] += 1
        if is_new or len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)


Outcome = tuple[Event, Posting]
Connect = Callable[[], psycopg.Connection[Any]]


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

    def __init__(
        self,
        file: BinaryIO,
        names: Mapping[str, str] | None = None,
        *,
        code: str | None = None,
        quantities: Mapping[str, str] | None = None,
    ) -> None:
        """Read the header. ``names`` says which column is the account, amount, key and so on.

        With ``quantities``, which says for each unit the column it is counted in, a row is priced:
        by the prices of ``code``, or of the one in its column code. ``file`` may be a pipe. Raises
        ReplayError when a column is missing or named twice.
        """
        self._file = file
        self._code = code
        self._quantities = dict(quantities or {})
        self._start = file.tell() if file.seekable() else 0
        self._header: list[bytes] = []
        self._names: list[str] = []
        self._key_prefix = ""
        self._begin()
        try:
            header = next(self._reader, [])
        except csv.Error as error:
            raise ReplayError(f"the first line is not a CSV header: {_csv_words(error)}") from error
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
                yield Problem(line, f"not CSV: {_csv_words(error)}{where}")
                continue
            if values:
                try:
                    yield self._event(line, values)
                except ValueError as error:
                    yield Problem(line, str(error))

    def check(self) -> Iterator[Event | Problem]:
        """Yield every row, then go back to the first, to read them again.

        A file without keys gets them here: from all of its content, and the line.
        """
        if not self._file.seekable():
            self._file = _spooled(self._header, self._file)
            self._start = 0
        self._file.seek(self._start)
        content = hashlib.file_digest(self._file, "sha256")  # type: ignore[arg-type] # it has readinto
        self._key_prefix = f"{content.hexdigest()[:32]}:"
        self._rewind()
        yield from self.rows()
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(self._start)
        self._begin()
        next(self._reader)

    def _begin(self) -> None:
        self.bytes_read = 0
        self._reader = csv.reader(self._lines(), strict=True)

    def _lines(self) -> Iterator[str]:
        for raw in self._file:
            # Bytes that are not UTF-8 become surrogates, so that their row can be named.
            line = raw.decode("utf-8", "surrogateescape")
            first = self.bytes_read == 0
            self.bytes_read += len(raw)
            if not self._names:
                self._header.append(raw)  # a pipe cannot be read again
            yield line.removeprefix("\ufeff") if first else line

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
        for column in names.keys() - self._columns:
            raise ReplayError(f"--map {column}: {_USELESS[column]}")
        self._places = {
            column: self._place(names.get(column), column, found) for column in self._columns
        }
        self._units = [
            (unit, self._named(column, f"--quantity {unit}=COLUMN", found))
            for unit, column in self._quantities.items()
        ]
        used = {*self._places.values(), *(place for _, place in self._units)}
        self._rest = [(n, name) for n, name in enumerate(self._names) if n not in used]

    @property
    def _columns(self) -> tuple[str, ...]:
        """The columns with a meaning; the others are metadata, whatever they are called."""
        if not self._quantities:
            return ("account", "amount", "key", "reference")
        return ("account", *(() if self._code else ("code",)), "key", "reference")

    def _place(self, given: str | None, column: str, found: str) -> int | None:
        if given is None and column not in self._names and column in {"key", "reference"}:
            return None
        return self._named(
            given or column, f"--map {column}=COLUMN{_OTHERWISE.get(column, '')}", found
        )

    def _named(self, name: str, option: str, found: str) -> int:
        if name not in self._names:
            raise ReplayError(
                f"there is no column {shorten(name)}; found: {found}. Name the one to use: {option}"
            )
        return self._names.index(name)

    def _event(self, line: int, values: Sequence[str]) -> Event:
        if len(values) != len(self._names):
            raise ValueError(f"{len(values)} fields, where the header has {len(self._names)}")
        for name, value in zip(self._names, values, strict=True):
            if _NOT_UTF8.search(value):
                raise ValueError(f"{shorten(name)[1:-1]} is not UTF-8")
            if "\0" in value:
                raise ValueError(f"{shorten(name)[1:-1]} has a NUL character")
        cells = {
            column: None if place is None else values[place]
            for column, place in self._places.items()
        }
        key, reference = cells["key"], cells["reference"]
        priced = bool(self._quantities)
        return Event(
            line,
            _label("account", cells["account"] or ""),
            None if priced else parse_amount(cells["amount"] or ""),
            f"{self._key_prefix}{line}" if key is None else _key(key),
            _label("reference", reference) if reference else None,
            {name: values[n] for n, name in self._rest} or None,
            self._code or _label("code", cells["code"] or "") if priced else None,
            self._used(values) if priced else None,
        )

    def _used(self, values: Sequence[str]) -> dict[str, Decimal]:
        """Return what a row used. What it used none of costs nothing, and need have no price."""
        used = {}
        for unit, place in self._units:
            if values[place].strip():
                try:
                    used[unit] = parse_number(values[place])
                except ValueError as error:
                    raise ValueError(f"{unit} {error}") from None
        if not used:
            raise ValueError("quantities are empty")
        return {unit: number for unit, number in used.items() if number} or used


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
            for row in usage.check():
                summary.add_row(row)
            if summary.bad and not strict:
                raise ReplayError(
                    "nothing was charged: there are bad rows and no column of keys. The keys are "
                    "made from the content of the file, so once some rows are charged, mending "
                    "the others would charge all of them again. Mend the bad rows first, or add a "
                    "column that gives each event a key."
                )
            if summary.bad:
                summary.rolled_back = True
                return
        if strict:
            _all_or_nothing(usage, connect, summary, shortfall=shortfall, progress=progress)
        else:
            summary.rows = 0
            _shared_out(
                usage,
                connect,
                summary,
                count=connections,
                shortfall=shortfall,
                progress=progress,
            )
    finally:
        summary.problems.sort(key=lambda problem: problem.line)
        summary.seconds = time.monotonic() - began


def _shared_out(
    usage: UsageFile,
    connect: Connect,
    summary: Summary,
    *,
    count: int,
    shortfall: Shortfall | None,
    progress: Callable[[int], None] | None,
) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(connect()) for _ in range(count)]
        threads = stack.enter_context(ThreadPoolExecutor(count))
        running: list[Future[list[Outcome]]] = []
        try:
            for events in _batches(usage, summary, CHUNK_ROWS * count):
                shares: list[list[Event]] = [[] for _ in range(count)]
                for event in events:
                    shares[crc32(event.account.encode()) % count].append(event)
                # The database worked on one batch while the next was read. It is waited for here,
                # because the rows of an account must not overtake each other.
                _collect(running, summary)
                running = [
                    threads.submit(_charge, connection, share, shortfall)
                    for connection, share in zip(opened, shares, strict=True)
                    if share
                ]
                if progress:
                    progress(usage.bytes_read)
            _collect(running, summary)
        except BaseException:
            for connection in opened:
                connection.cancel_safe()
            # What was committed nevertheless is told, too.
            _collect([future for future in running if future.exception() is None], summary)
            raise


def _all_or_nothing(
    usage: UsageFile,
    connect: Connect,
    summary: Summary,
    *,
    shortfall: Shortfall | None,
    progress: Callable[[int], None] | None,
) -> None:
    rows = summary.rows
    summary.rows = 0
    try:
        with connect() as connection, connection.transaction() as transaction:
            for events in _batches(usage, summary, CHUNK_ROWS):
                for outcome in _charge(connection, events, shortfall):
                    summary.add_outcome(*outcome, strict=True)
                if summary.problem_count:
                    transaction.force_rollback = True
                    break
                if progress:
                    progress(usage.bytes_read)
    except BaseException:
        summary.undo()
        raise
    summary.rows = rows
    if summary.problem_count:
        summary.undo()


def _batches(usage: UsageFile, summary: Summary, size: int) -> Iterator[list[Event]]:
    rows = usage.rows()
    while batch := list(islice(rows, size)):
        for row in batch:
            summary.add_row(row)
        yield [row for row in batch if isinstance(row, Event)]


def _collect(running: list[Future[list[Outcome]]], summary: Summary) -> None:
    while running:
        for outcome in running[0].result():
            summary.add_outcome(*outcome)
        del running[0]


def _charge(
    connection: psycopg.Connection[Any], events: Sequence[Event], shortfall: Shortfall | None
) -> list[Outcome]:
    """Charge some rows in one transaction, or savepoint, again after a conflict."""
    items = [
        BatchItem(
            event.account,
            None if event.amount is None else -event.amount,
            "USAGE",
            key=event.key,
            reference=event.reference,
            metadata=event.metadata,
            shortfall=shortfall,
            code=event.code,
            quantities=event.quantities,
        )
        for event in events
    ]
    for attempt in count(1):
        try:
            with connection.transaction():
                postings = Ledger(connection).post_batch(items)
            break
        except RETRYABLE:
            if attempt == ATTEMPTS:
                raise
    return list(zip(events, postings, strict=True))


def _refusal(event: Event, answer: Posting) -> str:
    details = refusal_of(answer).details
    missing = details.get("unit")
    return _REFUSALS.get(str(answer.refusal), "refused").format(
        event=event,
        answer=answer,
        requested=details.get("requested"),
        missing=event.code
        if missing is None
        else f"{event.code} has no {missing}; it has {units_told(missing, details['units'])}",
    )


def _csv_words(error: csv.Error) -> str:
    # The module's own words are for programmers.
    if "new-line character" in str(error):
        return "a carriage return that is neither in quotes nor at the end of a line"
    return str(error)


def _label(column: str, text: str) -> str:
    if not text:
        raise ValueError(f"{column} is empty")
    if _CONTROL.search(text):
        raise ValueError(f"{column} {shorten(text)} has a control character")
    if len(text) > LONGEST_LABEL:
        raise ValueError(f"{column} {shorten(text)} is longer than {LONGEST_LABEL} characters")
    return text


def _key(text: str) -> str:
    if text.startswith("#"):
        raise ValueError(f"key {shorten(text)} begins with #, as only the ledger's own keys do")
    return _label("key", text)


def _spooled(header: Sequence[bytes], pipe: BinaryIO) -> BinaryIO:
    """Keep what comes through a pipe on disk, to be read twice."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the file it stands for
    spool.writelines(header)
    shutil.copyfileobj(pipe, spool)
    return spool
