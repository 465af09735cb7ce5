"""Where the inference worker's threads meet: one lock, and under it what waits for whom.

*Hands* (threads for work on the processor) decode and encode; a *batcher* per model predicts. Nothing here computes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from workers.attempt import Attempt, Unit


class Errand(NamedTuple):
    """Work for a hand that goes before decoding: encoding frees memory and ends jobs."""

    attempts: tuple[Attempt, ...]
    """Whose work it is: the watchdog must see that it does not end."""

    run: Callable[[], None]


class Place(Protocol):
    """A model's place at the bench (workers.batcher.Batcher)."""

    def full(self) -> bool:
        """Whether enough decoded items wait."""


class Bench:
    """Jobs with items to decode, taken in turn item by item so that a job of 10,000 does not hold up the others."""

    def __init__(self) -> None:
        """Empty and open."""
        self.lock = threading.Lock()
        self._hands = threading.Condition(self.lock)
        self._ready: deque[tuple[Attempt, Place]] = deque()
        self._errands: deque[Errand] = deque()
        self._closed = False

    def put(self, attempt: Attempt, place: Place) -> None:
        """Offer a job's items for decoding."""
        with self.lock:
            self._ready.append((attempt, place))
            self._hands.notify_all()

    def run_soon(self, errand: Errand) -> None:
        """Have a hand do something, before any further decoding."""
        with self.lock:
            self._errands.append(errand)
            self._hands.notify()

    def moved(self) -> None:
        """A batcher took items, so there may be room again. Call it with the lock held."""
        if self._ready:
            self._hands.notify_all()

    def close(self) -> None:
        """Let the hands go home."""
        with self.lock:
            self._closed = True
            self._hands.notify_all()

    def next(self) -> Errand | Unit | None:
        """What a hand does next; waits for it. None when the bench is closed."""
        with self.lock:
            while not self._closed:
                if self._errands:
                    return self._errands.popleft()
                unit = self._next_unit()
                if unit is not None:
                    return unit
                self._hands.wait()
            return None

    def _next_unit(self) -> Unit | None:
        for _ in range(len(self._ready)):
            attempt, place = self._ready.popleft()
            if attempt.ended:
                continue
            if place.full():
                self._ready.append((attempt, place))
                continue
            unit = attempt.next_unit()
            if attempt.undecoded:
                self._ready.append((attempt, place))
            if unit is not None:
                return unit
        return None


class Activity:
    """What one thread is doing now, and since when: the watchdog looks at it from outside."""

    def __init__(self) -> None:
        """Idle."""
        self.phase = ""
        self.attempts: tuple[Attempt, ...] = ()
        self.since = 0.0

    def begin(self, phase: str, attempts: tuple[Attempt, ...]) -> None:
        """Something starts that may never end."""
        self.since = time.monotonic()
        self.attempts = attempts
        self.phase = phase

    def end(self) -> float:
        """It ended; seconds that it took."""
        self.phase = ""
        self.attempts = ()
        return time.monotonic() - self.since
