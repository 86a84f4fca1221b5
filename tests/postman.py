"""Delivers a provider's webhooks as badly as a network may: twice, late, in any order, again."""

import random
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Self

from tests.provider import FakeProvider
from tests.provider_http import Json

# Sends a body and its signature, and returns the HTTP status; OSError: nobody there.
Send = Callable[[bytes, str], int]


def to(url: str) -> Send:
    """Return what posts to an endpoint over HTTP."""

    def send(body: bytes, signature: str) -> int:
        request = urllib.request.Request(  # noqa: S310 - a port of this machine
            url, body, {"Stripe-Signature": signature, "Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
                return int(reply.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    return send


class Postman:
    """Carries every event until it was answered with a 2xx, then perhaps once more.

    ``with Postman(provider, to(url)) as postman: ...; postman.drain()``. Of the events that wait,
    any one is next; a delivery may get lost on its way there (``loses``), or its answer on its way
    back (``forgets``); one that came through is delivered again with the chance ``repeats``.
    """

    def __init__(
        self,
        provider: FakeProvider,
        send: Send,
        *,
        seed: int = 0,
        threads: int = 2,
        loses: float = 0.1,
        forgets: float = 0.1,
        repeats: float = 0.2,
    ) -> None:
        self.delivered: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self._provider = provider
        self._send = send
        self._chance = random.Random(seed)  # noqa: S311 - a test that can be run again
        self._loses, self._forgets, self._repeats = loses, forgets, repeats
        self._waiting: list[Json] = provider.told()
        self._under_way = 0
        self._changed = threading.Condition()
        self._over = False
        self._threads = [threading.Thread(target=self._deliver) for _ in range(threads)]

    def __enter__(self) -> Self:
        self._provider.listener = self._take
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._provider.listener = None
        with self._changed:
            self._over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def drain(self, timeout: float = 120) -> None:
        """Wait until every event came through."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: not self._waiting and not self._under_way, timeout
            )
        assert done, f"{len(self._waiting)} events did not come through: {self.statuses}"

    def _take(self, event: Json) -> None:
        with self._changed:
            self._waiting.append(event)
            self._changed.notify_all()

    def _deliver(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._over)
                if self._over:
                    return
                event = self._waiting.pop(self._chance.randrange(len(self._waiting)))
                lost, forgotten, again = (
                    self._chance.random() < share
                    for share in (self._loses, self._forgets, self._repeats)
                )
                self._under_way += 1
            try:
                status = 0 if lost else self._send(*self._provider.signed(event))
            except OSError:
                status = 0
            came_through = 200 <= status < 300
            with self._changed:
                self.statuses[status] += 1
                self.delivered[event["id"]] += came_through
                if not came_through or forgotten or again:
                    self._waiting.append(event)
                self._under_way -= 1
                self._changed.notify_all()
                if not came_through and not lost:
                    # Nobody there, or in trouble: do not spin until it is back.
                    self._changed.wait(0.02)
