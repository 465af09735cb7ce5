"""Publishes committed jobs, off the request's path: what one thread sends, many requests share.

A request commits, hands its messages over and answers. The thread sends all that is waiting in one pipeline, at once,
and notes in one statement, a moment later, all that was sent. If the process dies in between, the rows stand unsent
and the keeper sends them; a message that comes twice does no harm.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence

from broker.dispatch import Dispatcher
from db import jobs as rows
from db.engine import Database
from jobs.errors import DatabaseUnavailable
from jobs.messages import Message

log = logging.getLogger("medjobs.api")

MOST_AT_ONCE = 2000
"""Messages in one pipeline; below a second of Redis' time."""

MARK_AFTER_S = 0.05
"""How long sent ids are gathered before they are marked: each mark is a commit that the next submit waits for, and
until then a keeper's sweep may send them again."""


class Outgoing:
    """Hands committed jobs to the dispatcher. The thread starts with the first message (after gunicorn's fork)."""

    def __init__(self, dispatcher: Dispatcher, database: Database) -> None:
        """Nothing is opened here."""
        self._dispatcher, self._database = dispatcher, database
        self._waiting: queue.SimpleQueue[Sequence[Message] | None] = queue.SimpleQueue()
        self._sent: set[str] = set()
        self._mark_at = float("inf")
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def send(self, messages: Sequence[Message]) -> None:
        """Announce committed jobs soon; returns at once."""
        if not messages:
            return
        self._waiting.put(messages)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="outgoing", daemon=True)
                    self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Send and mark what is waiting, then stop the thread."""
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._turn():
            pass

    def _turn(self) -> bool:
        """Send and mark what there is to; True where it was the end. Whatever goes wrong, the thread lives on: the rows
        stand, and the keeper sends what was not sent."""
        batch, ended = self._take()
        try:
            if batch:
                self._publish(batch)
            if self._sent and (ended or time.monotonic() >= self._mark_at):
                self._mark()
        except Exception as error:
            # The type alone: a text may hold a row's values.
            log.error("%s while jobs were sent; the keeper sends what is left", type(error).__name__)
        return ended

    def _take(self) -> tuple[list[Message], bool]:
        """All that is waiting (nothing, where marking is due first); True where it was the end."""
        batch: list[Message] = []
        left = self._mark_at - time.monotonic()
        try:
            entry = self._waiting.get(timeout=max(left, 0.0)) if self._sent else self._waiting.get()
            while entry is not None:
                batch += entry
                if len(batch) >= MOST_AT_ONCE:
                    return batch, False
                entry = self._waiting.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _publish(self, batch: list[Message]) -> None:
        sent = self._dispatcher.send(batch)
        if sent and not self._sent:
            self._mark_at = time.monotonic() + MARK_AFTER_S
        self._sent |= sent

    def _mark(self) -> None:
        sent, self._sent = self._sent, set()
        try:
            rows.mark_sent(self._database, sent)
        except DatabaseUnavailable:
            log.warning("%d jobs were sent but could not be marked; the keeper will send them again", len(sent))
