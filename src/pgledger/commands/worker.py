"""The command that charges what is due, and what the commands that talk to a provider share."""

import logging
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any, Self, get_args

import click
import psycopg

from pgledger.client import Ledger
from pgledger.failures import CommandError, Exit
from pgledger.options import DURATION, NUMBER, Session
from pgledger.payments import LocalProvider, Money, ProviderUnavailableError
from pgledger.payments.worker import Deed, Done, TopUpWorker
from pgledger.records import Charge
from pgledger.replay import shorten
from pgledger.terminal import printable, say, say_folded, say_json, say_json_line, when

if TYPE_CHECKING:
    from pgledger.stripe import StripeProvider

test_mode_option = click.option(
    "--test-mode", is_flag=True, help="Use Stripe's test mode; refuses a live key."
)


def stripe_provider(*, test_mode: bool) -> "StripeProvider":
    """Return Stripe, by the key that the environment holds; an option would show in `ps`."""
    try:
        import stripe  # noqa: PLC0415 - an extra

        from pgledger.stripe import StripeProvider  # noqa: PLC0415 - the same
    except ImportError as error:
        raise CommandError(
            "Stripe's own library is not installed",
            Exit.USAGE,
            hint="pip install 'pgledger[stripe]'",
        ) from error
    key = os.environ.get("STRIPE_API_KEY", "").strip()
    if not key:
        raise CommandError(
            "no key of Stripe's API: set STRIPE_API_KEY",
            Exit.USAGE,
            hint="a restricted key (rk_...) of your account's dashboard is enough",
        )
    if not test_mode and key.startswith(("sk_test_", "rk_test_")):
        raise CommandError(
            "a key of test mode", Exit.USAGE, hint="give --test-mode where that is meant"
        )
    address = os.environ.get("STRIPE_API_BASE")
    if address and not test_mode:
        raise CommandError("STRIPE_API_BASE needs --test-mode", Exit.USAGE)
    try:
        if address:
            client = stripe.StripeClient(key, base_addresses={"api": address})
            return StripeProvider(client, test_mode=test_mode)
        return StripeProvider(key, test_mode=test_mode)
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None


@contextmanager
def asking_stripe() -> Iterator[None]:
    """Tell a provider that does not answer, or says no to the key, from a defect of ours."""
    import stripe  # noqa: PLC0415 - an extra, of which the provider has told

    try:
        yield
    except (ProviderUnavailableError, stripe.StripeError) as error:
        raise CommandError(
            f"stripe could not be asked: {' '.join(str(error).split())}",
            Exit.PROVIDER,
            hint="try again; if it is the key, see STRIPE_API_KEY",
        ) from error


@click.command()
@click.option(
    "--provider",
    type=click.Choice(["stripe", "local"]),
    required=True,
    help="Who charges. local only plays it: no money moves, and what it "
    "charged is forgotten when it ends.",
)
@click.option(
    "--price-per-credit",
    "price",
    type=NUMBER,
    required=True,
    help="What one credit (one minor unit) costs, in the smallest unit of --currency: 0.5 is half "
    "a cent of usd. The price of a top-up is rounded half up.",
)
@click.option("--currency", required=True, help="Of the money: usd.")
@click.option("--once", is_flag=True, help="End when nothing is due.")
@test_mode_option
@click.option(
    "--lease",
    type=DURATION,
    default="5m",
    show_default=True,
    help="When another worker may take over what is not settled.",
)
@click.option(
    "--poll", type=DURATION, default="5s", show_default=True, help="Look at least so often."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="How many charges are under way at once.",
)
@click.pass_obj
def worker(
    session: Session,
    *,
    provider: str,
    price: Decimal,
    currency: str,
    once: bool,
    test_mode: bool,
    lease: timedelta,
    poll: timedelta,
    concurrency: int,
) -> None:
    """Charge auto-top-ups that are due, and make approved refunds.

    A card that is declined is tried again after 1, 6 and 24 hours; then the
    auto-top-up is switched off. Run as many workers as you like, and kill
    them as you like: what one leaves the next finds, and nothing is charged
    twice. Ctrl-C or SIGTERM ends it when what is under way is settled.

    Stripe's key is read from STRIPE_API_KEY.
    """
    cost = _Price(price, currency)
    with _Lender(session) as lender:
        charging = LocalProvider() if provider == "local" else stripe_provider(test_mode=test_mode)
        show = _Journal(session, quiet=once and session.json)
        working = TopUpWorker(
            Ledger(lender),  # type: ignore[arg-type] # it lends as a pool does
            charging,
            price=cost,
            refunder=charging,
            lease=lease,
            poll=poll,
            concurrency=concurrency,
            listen=None if once else session.address(),
            tell=show,
        )
        if once:
            show.sum_up(working.run_once())
            return
        if not session.json:
            mode = " in test mode" if test_mode else ""
            click.echo(
                f"charging by {charging.name}{mode}: 1000 credits cost "
                f"{_money(cost.of(1000))}, in its smallest unit; Ctrl-C ends it",
                err=True,
            )
        with _complaining(session), _ending(working.stop):
            working.run()
    show.end()


class _Price:
    """The price of a charge: so much per credit, in whole smallest units of a currency."""

    def __init__(self, per_credit: Decimal, currency: str) -> None:
        if not re.fullmatch("[a-zA-Z]{3}", currency, re.ASCII):
            raise click.BadParameter(
                f"{shorten(currency)} is no currency: three letters, such as usd",
                param_hint="--currency",
            )
        self._per_credit = per_credit
        self._currency = currency

    def of(self, credits: int) -> Money:  # noqa: A002 - that is what they are
        exact = self._per_credit * credits
        return Money(int(exact.to_integral_value(ROUND_HALF_UP)), self._currency)

    def __call__(self, charge: Charge) -> Money:
        return self.of(charge.amount)


class _Lender:
    """Lends connections as a pool does, one to each thread that asks, and opens what it lacks."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._idle: LifoQueue[psycopg.Connection[Any]] = LifoQueue()

    def __enter__(self) -> Self:
        """Open the first at once: a database that is not there is told of before anything else."""
        self._idle.put(self._session.connect())
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection in autocommit mode; a broken one is not lent again."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = psycopg.connect(self._session.address(), autocommit=True)
        try:
            yield connection
        finally:
            if connection.closed:
                connection.close()
            else:
                self._idle.put(connection)


class _Journal:
    """Shows what was done as it is done; from any thread, a line at a time."""

    def __init__(self, session: Session, *, quiet: bool) -> None:
        self._session = session
        self._quiet = quiet
        self._lock = threading.Lock()
        self._shown: list[dict[str, Any]] = []
        self._counts: Counter[Deed] = Counter()

    def __call__(self, done: Done) -> None:
        now = datetime.now(UTC)
        with self._lock:
            self._counts[done.what] += 1
            if self._quiet:
                self._shown.append(_record(done, now))
            elif self._session.json:
                say_json_line(_record(done, now))
            else:
                _show(done, now)

    def sum_up(self, counts: Counter[Deed]) -> None:
        """End a run that was to be one."""
        if self._session.json:
            say_json({"done": self._shown, "counts": counts})
        else:
            say(_counted(counts))
        if counts["unavailable"] or counts["failed"]:
            raise click.exceptions.Exit(Exit.PROVIDER)

    def end(self) -> None:
        """End a run that went on and on."""
        if self._session.json:
            say_json_line({"counts": self._counts, "stopped": True})
        else:
            say(f"stopped; {_counted(self._counts)}")


def _record(done: Done, now: datetime) -> dict[str, Any]:
    error = None if done.error is None else type(done.error).__name__
    return {"at": now, **asdict(replace(done, error=None)), "error": error}


def _show(done: Done, now: datetime) -> None:
    facts = {
        "key": done.key,
        "credits": done.amount,
        "money": None if done.money is None else _money(done.money),
        "payment": done.payment_id,
        "reason": done.reason,
    }
    told = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
    if done.final:
        told += "; auto-top-up switched off"
    if done.what in {"unavailable", "failed"}:
        told += "; will be tried again"
    say_folded(f"{when(now)}  {done.what.replace('_', ' ')}  {done.account_id}", told)


def _money(money: Money) -> str:
    return f"{money.amount} {money.currency}"


def _counted(counts: Counter[Deed]) -> str:
    if not counts:
        return "nothing was due"
    return ", ".join(
        f"{what.replace('_', ' ')}: {counts[what]}" for what in get_args(Deed) if counts[what]
    )


@contextmanager
def _ending(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the work well, and a second one end it at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def end(_number: int, _frame: object) -> None:
        stop()
        restore()

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        restore()


@contextmanager
def _complaining(session: Session) -> Iterator[None]:
    """Show what the worker logs about its database as lines for a person, without a traceback."""
    log = logging.getLogger("pgledger.payments")
    handler = _Complaints(session, logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Complaints(logging.Handler):
    def __init__(self, session: Session, level: int) -> None:
        super().__init__(level)
        self._session = session

    def emit(self, record: logging.LogRecord) -> None:
        # What failed with one charge is shown as a line of its own.
        if record.exc_info:
            return
        message = record.getMessage()
        if self._session.json:
            say_json_line({"warning": message})
        else:
            click.echo(f"warning: {printable(message)}", err=True)
