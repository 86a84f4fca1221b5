"""Movements of many callers, posted together in one call, each answered to its own caller.

Posting many movements in one call costs a fraction of posting each in a transaction of its own: one
round trip, one commit, and one wait for the lock of an account that everybody spends from.

``queue`` decides who is sent when and what each is told, with no I/O; ``threaded`` and
``asynchronous`` run it, under a lock or in an event loop.
"""

from pgledger.batching.asynchronous import AsyncBatcher
from pgledger.batching.queue import Limits
from pgledger.batching.threaded import Batcher

__all__ = ["AsyncBatcher", "Batcher", "Limits"]
