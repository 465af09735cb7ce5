"""How much of the device the loaded models take, and whether another one fits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from jobs.errors import ModelTooLarge, OutOfMemory
from workers.memory import Gauge

PATIENCE_S = 5.0
"""A load waits so long for models in use to become idle by themselves. From then on they get no new jobs, so that each
model has its turn however steady the jobs of the others are."""

WAIT_S = 60.0
"""So long in all, what those models still held included; then its jobs come again later."""


class Room:
    """Keeps the account of one device. A model counts by what it declares or what it was seen to take, whichever is
    more; one of which neither is known yet counts nothing until it is loaded.

    `taken` tells what the loaded models count, `evict` lets the idle one that was used longest ago go (False: none is).
    """

    def __init__(self, gauge: Gauge, limit: int | None) -> None:
        """`limit`: bytes; None where they are not known, and then every load is tried."""
        self.gauge = gauge
        self.limit = limit
        self.closing = 0
        """Loads that lost their patience and wait still."""

        self._turn = threading.Condition()
        self._expected = 0
        """What the loads under way will take."""

        self._loads = 0
        self._begun = 0

    def admit(self, need: int, taken: Callable[[], int], evict: Callable[[], bool]) -> int:
        """Make room for `need` bytes; a ticket for `done`. Raises `ModelTooLarge` for what never fits, `OutOfMemory`
        where models in use leave no room in time."""
        if self.limit is not None and need > self.limit:
            raise too_large(need, self.limit)
        began, waits = time.monotonic(), (PATIENCE_S, WAIT_S)
        impatient = False
        with self._turn:
            try:
                while self.limit is not None and taken() + self._expected + need > self.limit:
                    passed = time.monotonic() - began
                    if evict():
                        self.gauge.free()
                    elif passed >= WAIT_S:
                        detail = "The models in use leave no room on the device now; the job is tried again by itself."
                        raise OutOfMemory(detail, needed_bytes=need, limit_bytes=self.limit)
                    elif passed >= PATIENCE_S and not impatient:
                        impatient = True
                        self.closing += 1
                    else:
                        self._turn.wait(waits[impatient] - passed)
            finally:
                self.closing -= impatient
            self._expected += need
            self._loads += 1
            self._begun += 1
            return self._begun if self._loads == 1 else 0

    def alone(self, ticket: int) -> bool:
        """Whether no other load ran beside that of this ticket, so that what was measured is its own."""
        with self._turn:
            return ticket > 0 and ticket == self._begun

    def done(self, need: int) -> None:
        """A load is over, and what it made stands among what is taken."""
        with self._turn:
            self._expected -= need
            self._loads -= 1
            self._turn.notify_all()

    def changed(self) -> None:
        """A model is idle, or gone: whoever waits for room looks again."""
        with self._turn:
            self._turn.notify_all()


def too_large(need: int, limit: int) -> ModelTooLarge:
    """The error for a model of `need` bytes on a device of `limit`."""
    detail = (
        f"The model needs {mebibytes(need)} and this worker's device has {mebibytes(limit)} for models; "
        "start a worker on a larger one."
    )
    return ModelTooLarge(detail, needed_bytes=need, limit_bytes=limit)


def mebibytes(size: int) -> str:
    """A size as it is said in errors and logs."""
    return f"{size / (1 << 20):.1f} MiB"
