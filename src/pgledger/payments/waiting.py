"""Waiting for work: until the database tells of some, for a time, or until somebody says stop."""

import logging
import os
import select
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10


class Waiting:
    """Waits on a connection of its own, which it opens again when it was lost.

    ``stop()`` only sets a flag and writes a byte, which a signal handler may do at any moment.
    """

    def __init__(self, listen: str | None, kind: str) -> None:
        """Listen for events of a kind; without a URL only time and stop() end a wait."""
        self.stopped = False
        self._listen = listen
        self._kind = kind
        self._connection: psycopg.Connection[Any] | None = None
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def __del__(self) -> None:
        """Give the pipe up."""
        os.close(self._reader)
        os.close(self._writer)

    def stop(self) -> None:
        """End the wait that there is, and every later one."""
        self.stopped = True
        with suppress(BlockingIOError):
            os.write(self._writer, b".")

    def open(self) -> None:
        """Listen, unless it does: before the first look, so that nothing falls between the two."""
        if self._listen is None or self._connection is not None:
            return
        try:
            self._connection = psycopg.connect(
                self._listen, autocommit=True, connect_timeout=CONNECT_SECONDS
            )
            self._connection.execute("listen pgledger_events")
        except psycopg.Error:
            # What works on the database tells of one that fails; a standby has nobody to listen to.
            self.close()

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def wait(self, longest: timedelta) -> bool:
        """Return whether there may be something to do, when it was told or the time is over."""
        until = time.monotonic() + longest.total_seconds()
        while not self.stopped and (left := until - time.monotonic()) > 0:
            self.open()
            watched: list[Any] = [self._reader]
            if self._connection is not None:
                watched.append(self._connection)
            select.select(watched, [], [], left)
            if self._told():
                return True
        return False

    def _told(self) -> bool:
        if self._connection is None:
            return False
        try:
            return self._kind in {told.payload for told in self._connection.notifies(timeout=0)}
        except psycopg.Error as error:
            log.warning("no longer listening: %s", " ".join(str(error).split()))
            self.close()
            # What came while nobody listened is found by looking.
            return True
