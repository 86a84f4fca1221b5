"""Charges the auto-top-ups that are due, and gives back the money of refunds that are approved.

Whatever happens to a worker, a charge is asked for under the one key that its claim carries, and
what came of it is recorded under the provider's id of the payment. So it does not matter where a
worker was killed: the next that is handed the charge asks the provider first.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal

import psycopg

from pgledger.client import Ledger
from pgledger.errors import LedgerError
from pgledger.payments.charging import (
    Charged,
    Charger,
    Declined,
    Money,
    Outcome,
    Processing,
    ProviderUnavailableError,
    Refunder,
    RefundOrder,
    RefundRefusedError,
)
from pgledger.payments.facts import record_refund
from pgledger.payments.waiting import Waiting
from pgledger.records import Charge, ClaimedRefund

log = logging.getLogger(__name__)

Deed = Literal[
    "charged",
    "declined",
    "processing",
    "unmatched",
    "refunded",
    "refund_refused",
    "unavailable",
    "failed",
]
# A database that is down, is not reached, or is a standby for a moment.
_PASSING = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
)
# How long a charge rests whose provider could not be asked: this, then twice that, and so on.
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(hours=1)
# How long before a payment that the provider is still at is asked after; an event comes earlier.
PROCESSING_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Done:
    """What a worker did with one charge or refund, and why it did no more.

    ``amount`` is credits, ``money`` what was asked for. ``final``: a decline that disabled the
    auto-top-up. ``error`` is there where it failed for a reason of our own, and comes again.
    """

    what: Deed
    account_id: str
    key: str
    amount: int
    money: Money | None = None
    payment_id: str | None = None
    reason: str | None = None
    final: bool = False
    error: Exception | None = None


class TopUpWorker:
    """Claims what is due, asks the provider, and records what it said.

    ``ledger`` is one on a pool: a charge is claimed, and what came of it recorded, in transactions
    of their own, and none is open while the provider is asked. Any number of workers may run.

    ``price`` says how much money the credits of a charge cost; it must say the same of the same
    charge, or the provider refuses it. A charge that was claimed for ``lease`` and is not settled
    may be claimed by the next worker. ``concurrency`` charges are under way at once.

    With ``listen``, the database's URL, a worker hears at once of what is due; without, and where a
    pooler is in between, every ``poll`` when it looks anyway. ``tell`` is handed each
    :class:`Done`, from any thread. Without a ``refunder`` approved refunds are left to others.
    """

    def __init__(
        self,
        ledger: Ledger,
        charger: Charger,
        *,
        price: Callable[[Charge], Money],
        refunder: Refunder | None = None,
        lease: timedelta = timedelta(minutes=5),
        poll: timedelta = timedelta(seconds=5),
        concurrency: int = 4,
        listen: str | None = None,
        tell: Callable[[Done], object] | None = None,
    ) -> None:
        """Take in what to work with; nothing is claimed before run() or run_once()."""
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self._ledger = ledger
        self._charger = charger
        self._price = price
        self._refunder = refunder
        self._lease = lease
        self._poll = poll
        self._concurrency = concurrency
        self._tell = tell
        self._waiting = Waiting(listen, "top_up_requested")

    def run(self) -> None:
        """Work until stop(); a database that fails is waited for, and tried again."""
        failures = 0
        try:
            while not self._waiting.stopped:
                self._waiting.open()
                pause = self._poll
                try:
                    self.run_once()
                    failures = 0
                except _PASSING as error:
                    failures += 1
                    pause = doubled(self._poll, failures)
                    log.warning("the database failed: %s", " ".join(str(error).split()))
                self._waiting.wait(pause)
        finally:
            self._waiting.close()

    def stop(self) -> None:
        """Let run() return once what is under way is settled.

        A signal handler may say so, and any thread. There is no way back: make another worker.
        """
        self._waiting.stop()

    def run_once(self) -> Counter[Deed]:
        """Work until nothing is due, and count what was done; raises where the database fails."""
        done: Counter[Deed] = Counter()
        under_way: set[Future[Done]] = set()
        with ThreadPoolExecutor(self._concurrency, "pgledger-worker") as threads:
            while True:
                # No more than are begun at once: a claim that waits uses up its lease.
                for job in self._claim(self._concurrency - len(under_way)):
                    under_way.add(threads.submit(self._told, job))
                if not under_way:
                    return done
                finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                done.update(one.result().what for one in finished)

    def _claim(self, free: int) -> Iterator[Callable[[], Done]]:
        if self._waiting.stopped:
            return
        if self._refunder is not None:
            for order in self._ledger.claim_refunds(
                limit_count=free, lease=self._lease, provider=self._refunder.name
            ):
                free -= 1
                yield partial(self._refund, self._refunder, order)
        if free:
            for charge in self._ledger.claim_top_ups(limit_count=free, lease=self._lease):
                yield partial(self._charge, charge)

    def _told(self, job: Callable[[], Done]) -> Done:
        done = job()
        if done.error is not None:
            log.error(
                "%s of %s will be tried again", done.key, done.account_id, exc_info=done.error
            )
        if self._tell is not None:
            self._tell(done)
        return done

    def _charge(self, charge: Charge) -> Done:
        done = partial(Done, account_id=charge.account_id, key=charge.key, amount=charge.amount)
        try:
            # One that may have been charged before is asked after, whatever it would cost now.
            outcome = self._charger.find(charge) if charge.claims > 1 else None
            if outcome is None and charge.is_wanted:
                outcome = self._charger.charge(charge, self._price(charge))
            elif outcome is None:
                outcome = Declined("not_wanted_any_more")
            return self._settle(charge, outcome, done)
        except ProviderUnavailableError as error:
            # Sooner than the lease would; where the ledger cannot be told, the lease does.
            with suppress(psycopg.Error, LedgerError):
                self._defer(charge, doubled(FIRST_PAUSE, charge.claims - 1), "provider unavailable")
            return done("unavailable", reason=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are charged
            return done("failed", reason=_words(error), error=error)

    def _settle(self, charge: Charge, outcome: Outcome, done: Callable[..., Done]) -> Done:
        match outcome:
            case Charged():
                payment = self._ledger.record_payment(
                    self._charger.name,
                    outcome.payment_id,
                    "SUCCEEDED",
                    account_id=charge.account_id,
                    key=charge.key,
                    amount=charge.amount,
                    paid=outcome.paid,
                    currency=outcome.currency,
                    customer=outcome.customer,
                )
                return done(
                    "unmatched" if payment.seq is None else "charged",
                    money=Money(outcome.paid, outcome.currency),
                    payment_id=outcome.payment_id,
                    reason=payment.reason,
                )
            case Declined():
                declined = self._ledger.decline_top_up(
                    charge.account_id,
                    charge.key,
                    charge.attempt,
                    outcome.reason,
                    provider=self._charger.name,
                    payment_id=outcome.payment_id,
                    give_up=outcome.permanent,
                )
                return done(
                    "declined",
                    payment_id=outcome.payment_id,
                    reason=outcome.reason,
                    final=declined.status != "PENDING",
                )
            case Processing():
                self._defer(charge, PROCESSING_PAUSE, outcome.reason)
                return done("processing", payment_id=outcome.payment_id, reason=outcome.reason)

    def _defer(self, charge: Charge, pause: timedelta, reason: str) -> None:
        self._ledger.defer_top_up(
            charge.account_id, charge.key, charge.attempt, pause=pause, reason=reason
        )

    def _refund(self, refunder: Refunder, claimed: ClaimedRefund) -> Done:
        order = RefundOrder(
            account_id=claimed.account_id,
            key=claimed.key,
            payment_id=claimed.payment_id,
            money=Money(claimed.money, claimed.money_currency),
            idempotency_key=claimed.idempotency_key,
            claims=claimed.claims,
        )
        done = partial(
            Done,
            account_id=order.account_id,
            key=order.key,
            amount=claimed.amount,
            money=order.money,
            payment_id=order.payment_id,
        )
        try:
            fact = refunder.find_refund(order) if order.claims > 1 else None
            if fact is None:
                fact = refunder.refund(order)
            record_refund(self._ledger, refunder.name, fact)
            return done("refunded")
        except RefundRefusedError as error:
            return self._refuse(order, str(error) or "refused", done)
        except ProviderUnavailableError as error:
            return done("unavailable", reason=str(error))
        except Exception as error:  # noqa: BLE001 - as above
            return done("failed", reason=_words(error), error=error)

    def _refuse(self, order: RefundOrder, why: str, done: Callable[..., Done]) -> Done:
        try:
            self._ledger.settle_refund_request(order.account_id, order.key, result=why)
        except Exception as error:  # noqa: BLE001 - as above
            return done("failed", reason=_words(error), error=error)
        return done("refund_refused", reason=why)


def doubled(pause: timedelta, times: int) -> timedelta:
    """Return a pause that grows with each failure in a row, up to an hour."""
    return min(LONGEST_PAUSE, pause * (1 << min(max(times, 0), 20)))


def _words(error: Exception) -> str:
    """Say in a line what went wrong."""
    return " ".join(f"{type(error).__name__}: {error}".split())
