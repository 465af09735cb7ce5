"""What a long job's runner said and the database has not heard yet: metrics, logs, and how far it is."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

Progress = tuple[float, str, str]
"""Fraction from 0 to 1, stage, message."""

Event = tuple[str, dict[str, Any]]
"""Type ("metric", "log" or "artifact") and data."""

Send = Callable[[list[Event], Progress | None], object]
"""Writes a portion in one transaction; raises where it could not."""

MOST_EVENTS = 20_000
"""Events that may wait: 100 s of a runner that says 200 a second, while the database is away. Beyond that the oldest
are dropped."""

PORTION = 2000
"""Events in one transaction: on SQLite nobody else writes meanwhile."""


class News:
    """The list of what is to be told, in order. To say something costs microseconds; another thread sends it."""

    def __init__(self) -> None:
        """Nothing to tell."""
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._progress: Progress | None = None
        self._lock, self._sending = threading.Lock(), threading.Lock()

    def progress(self, fraction: float, stage: str, message: str) -> None:
        """How far the job is; only the newest counts."""
        self._progress = (fraction, stage, message)

    def metric(self, name: str, value: float, step: int) -> None:
        """One point of a curve; a value that is no number, as of a loss that diverged, stands as null."""
        number = float(value)
        data = {"name": name, "value": number if math.isfinite(number) else None, "step": int(step)}
        with self._lock:
            self._events.append(("metric", data))

    def log(self, message: str) -> None:
        """One line."""
        with self._lock:
            self._events.append(("log", {"message": message}))

    def artifact(self, name: str, media_type: str, href: str, step: int) -> None:
        """A file that lies in the storage."""
        with self._lock:
            self._events.append(("artifact", {"name": name, "media_type": media_type, "href": href, "step": int(step)}))

    def deliver(self, send: Send) -> None:
        """Send all that waits, in portions; what `send` raises comes through, and the portion waits on.

        When it returns, all that was said before the call is sent, also what another thread was sending: the job's end
        is written next, and nothing is taken after that.
        """
        with self._sending:
            while True:
                events, progress = self._take()
                if not events and progress is None:
                    return
                try:
                    send(events, progress)
                except BaseException:
                    self._put_back(events, progress)
                    raise

    def _take(self) -> tuple[list[Event], Progress | None]:
        with self._lock:
            taken = [self._events.popleft() for _ in range(min(PORTION, len(self._events)))]
            progress, self._progress = (None, self._progress) if self._events else (self._progress, None)
            return taken, progress

    def _put_back(self, events: list[Event], progress: Progress | None) -> None:
        with self._lock:
            room = MOST_EVENTS - len(self._events)
            self._events.extendleft(reversed(events[max(0, len(events) - room) :]))
            self._progress = self._progress or progress
