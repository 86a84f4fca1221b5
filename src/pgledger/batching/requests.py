"""What can be asked of a batcher, once: a pure function from arguments to a movement of a batch."""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, get_args, overload

from pgledger import calls
from pgledger.batching.queue import Movement, Queue
from pgledger.calls import BatchItem, Call, Metadata, Quantities
from pgledger.calls._call import exact, mapping, whole
from pgledger.records import Posting, Shortfall

if TYPE_CHECKING:
    from pgledger.batching.asynchronous import AsyncBatcher
    from pgledger.batching.threaded import Batcher

P = ParamSpec("P")

_MOST = 2**63 - 1
_SHORTFALLS = (None, *get_args(Shortfall))


# What a batch would read otherwise than the single call goes through that, to be refused.
Request = Movement | Call[Posting]


class _Batched(Generic[P]):
    """A request as a method: waited for on a Batcher, awaited on an AsyncBatcher."""

    def __init__(self, build: Callable[P, Request]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, batcher: None, owner: type) -> Callable[P, Request]: ...
    @overload
    def __get__(self, batcher: "Batcher", owner: type) -> Callable[P, Posting]: ...
    @overload
    def __get__(self, batcher: "AsyncBatcher", owner: type) -> Callable[P, Awaitable[Posting]]: ...

    def __get__(self, batcher: "Batcher | AsyncBatcher | None", owner: type) -> Callable[P, Any]:
        if batcher is None:
            return self._build

        @wraps(self._build)
        def run(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - a posting, or an awaitable
            return batcher.run(self._build(*args, **kwargs))

        # Found there from now on: to make it again would be a tenth of what a call costs here.
        vars(batcher)[self._name] = run
        return run


def spend(
    account_id: str,
    amount: int,
    *,
    key: str | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    shortfall: Shortfall | None = None,
    raise_refusals: bool | None = None,
) -> Request:
    """Spend as Ledger.spend does, together with what others spend; return once it is committed.

    Refusals are those of the single call, and only this caller's. Any other error leaves open
    whether it was posted: repeat it by its key, so give one.
    """
    # In a batch the sign and the shortfall say more than a spend may: a credit, a forced debit.
    if amount is None or not 0 < whole("amount", amount) <= _MOST or shortfall not in _SHORTFALLS:
        return calls.spend(account_id, amount, shortfall=shortfall)
    given: dict[str, Any] = {
        "key": key,
        "reference": reference,
        "metadata": None if metadata is None else mapping("metadata", metadata),
        "shortfall": shortfall,
    }
    return Movement(
        BatchItem(account_id, -whole("amount", amount), "USAGE", **given),
        raises=raise_refusals is not False,
        alone=partial(calls.spend, account_id, amount, **given, raise_refusals=False),
    )


def spend_usage(
    account_id: str,
    code: str,
    quantities: Quantities,
    *,
    key: str | None = None,
    reference: str | None = None,
    metadata: Metadata | None = None,
    shortfall: Shortfall | None = None,
    raise_refusals: bool | None = None,
) -> Request:
    """Price and spend as Ledger.spend_usage does, together with what others spend, as spend."""
    if code is None or quantities is None or shortfall not in _SHORTFALLS:
        return calls.spend_usage(account_id, code, quantities, shortfall=shortfall)
    given: dict[str, Any] = {
        "key": key,
        "reference": reference,
        "metadata": None if metadata is None else mapping("metadata", metadata),
        "shortfall": shortfall,
    }
    used = exact("quantities", quantities)
    return Movement(
        BatchItem(account_id, None, "USAGE", code=code, quantities=used, **given),
        raises=raise_refusals is not False,
        alone=partial(calls.spend_usage, account_id, code, used, **given, raise_refusals=False),
    )


def post(item: BatchItem, *, raise_refusals: bool | None = None) -> Request:
    """Post any movement that post_batch takes, together with those of others, as spend does."""
    return Movement(item, raises=raise_refusals is not False)


class Requests:
    """What a batcher can be asked, and what it tells of itself."""

    _queue: Queue

    spend = _Batched(spend)
    spend_usage = _Batched(spend_usage)
    post = _Batched(post)

    @property
    def queued(self) -> int:
        """How many movements were taken in and wait to be sent."""
        return self._queue.queued

    @property
    def in_line(self) -> int:
        """How many callers wait for room: figures above 0 say that the database is behind."""
        return self._queue.in_line
