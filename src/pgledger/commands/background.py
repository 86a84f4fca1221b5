"""The commands that go on and on: housekeeping, and following the events."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import psycopg

from pgledger.client import Ledger
from pgledger.failures import CommandError, Exit, explained
from pgledger.options import DURATION, Group, Session
from pgledger.records import ClaimedEvent, Event
from pgledger.terminal import say, say_json, say_json_line, show_event, show_failure, when

# How long to wait for a notification before looking anyway: through a pooler none arrives.
POLL_SECONDS = 2.0
# As many events as one look reads, and as it reads when all of those are new.
FEW, MANY = 1000, 10_000


@click.command("run-due")
@click.option("--every", type=DURATION, help="Go on until Ctrl-C, once in so long: 30s, 1m, 1h.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="How many accounts to settle in one transaction.",
)
@click.pass_obj
def run_due(session: Session, every: timedelta | None, limit: int) -> None:
    """Post what is due: expired holds and credits, refills.

    Only housekeeping: balances count what is due from its very instant. Run
    it so that the journal and the events tell it soon, and not with the
    account's next movement. Several may run at once. An account counts each
    time that something of it is posted.

    With --every, a connection that is lost is opened again at the next pass.
    """
    if every is None:
        with session.ledger() as ledger:
            settled = sum(_passes(ledger, limit))
        if session.json:
            say_json({"settled": settled})
        else:
            say(_told(settled))
        return
    if not session.json:
        click.echo("posting what falls due; Ctrl-C ends it", err=True)
    housekeeper = _Housekeeper(session, limit)
    with suppress(KeyboardInterrupt):
        housekeeper.pass_over(patient=False)
        while True:
            time.sleep(every.total_seconds())
            housekeeper.pass_over(patient=True)
    housekeeper.close()
    if session.json:
        say_json_line({"settled": housekeeper.total, "stopped": True})
    else:
        say(f"stopped; {_told(housekeeper.total)} in all")


class _Housekeeper:
    """Makes a pass at a time, and keeps a connection between them while it holds."""

    def __init__(self, session: Session, limit: int) -> None:
        self.total = 0
        self._session = session
        self._limit = limit
        self._connection: psycopg.Connection[Any] | None = None

    def pass_over(self, *, patient: bool) -> None:
        """Settle all that is due, and tell; a patient pass also survives a database that fails."""
        settled = 0
        try:
            if self._connection is None:
                self._connection = self._session.connect()
            for more in _passes(Ledger(self._connection), self._limit):
                settled += more
                self.total += more
        except (psycopg.Error, CommandError) as error:
            told = explained(error)
            if not patient or told is None or told.code != Exit.DATABASE:
                raise
            self.close()
            self._complain(told)
        finally:
            if settled:
                self._tell(settled)

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _complain(self, told: CommandError) -> None:
        show_failure(told, as_json=self._session.json)
        if not self._session.json:
            click.echo("the next pass tries again", err=True)

    def _tell(self, settled: int) -> None:
        now = datetime.now(UTC)
        if self._session.json:
            say_json_line({"settled": settled, "at": now})
        else:
            say(f"{when(now)}  {_told(settled)}")
            sys.stdout.flush()


def _passes(ledger: Ledger, limit: int) -> Iterator[int]:
    while settled := ledger.run_due(limit):
        yield settled


def _told(settled: int) -> str:
    if not settled:
        return "nothing was due"
    return f"accounts settled: {settled}"


@click.group(cls=Group)
def events() -> None:
    """Follow the outbox, and see what payment providers told."""


@events.command()
@click.option("--account", help="Only the events of this account.")
@click.option(
    "--follow/--no-follow", default=True, help="Go on until Ctrl-C (the default), or end."
)
@click.option(
    "-n",
    "last",
    type=click.IntRange(0, 10_000),
    help="Begin with the last so many; 10 if not given.",
)
@click.option(
    "--ack", is_flag=True, help="Take each event from the outbox: claim, print, acknowledge it."
)
@click.pass_obj
def tail(
    session: Session, account: str | None, last: int | None, *, follow: bool, ack: bool
) -> None:
    """Print events as they come, one a line; amounts are minor units.

    It only looks, and takes no event from those who handle them. With --ack
    it is one who handles them, of all accounts: what it printed it
    acknowledges, and what it was interrupted at comes again after a minute.
    """
    if ack and (account is not None or last is not None):
        raise click.UsageError("--ack takes every event in turn: leave out --account and -n")
    with session.connect() as connection:
        ledger = Ledger(connection)
        # Before the first look, so that nothing falls between the two.
        with suppress(psycopg.errors.ReadOnlySqlTransaction):  # a standby, which can only be polled
            connection.execute("listen pgledger_events")
        try:
            if ack:
                _consume(session, ledger, follow=follow)
            else:
                _watch(session, ledger, account, 10 if last is None else last, follow=follow)
        except KeyboardInterrupt:
            # It may have come in the middle of a statement: there is nothing more to be said here.
            connection.close()
            if not follow:
                raise


def _consume(session: Session, ledger: Ledger, *, follow: bool) -> None:
    while True:
        claimed = ledger.claim_events()
        for event in claimed:
            _print(session, event)
            ledger.ack_events([event.account_id], [event.seq])
        if not claimed:
            if not follow:
                return
            _wait(ledger)


def _watch(
    session: Session, ledger: Ledger, account: str | None, last: int, *, follow: bool
) -> None:
    look = _Lookout(ledger, account)
    fresh = look.first(last)
    while True:
        for event in fresh:
            _print(session, event)
        if not follow:
            return
        _wait(ledger)
        fresh = look.again()


class _Lookout:
    """Finds the events that were not there at the last look.

    A transaction may commit an event after a younger one was seen, so what was seen is kept by
    name, down to the oldest that a look has read; what is older than that was there before.
    """

    def __init__(self, ledger: Ledger, account: str | None) -> None:
        self._ledger = ledger
        self._account = account
        self._seen: set[tuple[str, int]] = set()
        self._oldest = datetime.min.replace(tzinfo=UTC)

    def first(self, last: int) -> list[Event]:
        """Return the last events, oldest first."""
        page = self._page(max(last, FEW))
        self._remember(page, is_all=len(page) < max(last, FEW))
        return page[::-1][max(len(page) - last, 0) :]

    def again(self) -> list[Event]:
        """Return the new events, oldest first."""
        for limit in (FEW, MANY):
            page = self._page(limit)
            fresh = [event for event in page if self._is_new(event)]
            if len(fresh) < limit:
                break
        else:
            click.echo("more events than can be shown: some are left out", err=True)
        self._remember(page, is_all=len(page) < limit)
        return fresh[::-1]

    def _page(self, limit: int) -> list[Event]:
        return self._ledger.list_events(self._account, limit_count=limit)

    def _is_new(self, event: Event) -> bool:
        return event.created_at > self._oldest and (event.account_id, event.seq) not in self._seen

    def _remember(self, page: Sequence[Event], *, is_all: bool) -> None:
        if not is_all:
            self._oldest = max(self._oldest, page[-1].created_at)
        self._seen = {
            (event.account_id, event.seq) for event in page if event.created_at > self._oldest
        }


def _wait(ledger: Ledger) -> None:
    """Wait until somebody says that there are events, or for some time."""
    for _ in ledger.connection.notifies(timeout=POLL_SECONDS, stop_after=1):
        pass


def _print(session: Session, event: Event | ClaimedEvent) -> None:
    if session.json:
        say_json_line(event)
    else:
        show_event(event)
        sys.stdout.flush()
