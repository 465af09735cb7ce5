"""Turns waiting items into batches for one loaded model.

Takes what waits, up to the largest batch; waits for more only while more is on its way, and never longer than
`batch_delay_ms`. A batch that raises is cut in two until the item that is to blame stands alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from jobs.errors import JobError, OutOfMemory
from jobs.predicting import Predictor
from workers.attempt import Unit
from workers.bench import Activity, Bench
from workers.blame import as_job_error

log = logging.getLogger("medjobs.workers")

WAITING_BATCHES = 2
"""Decoded batches that may wait for the model: more would only hold memory."""

Done = Callable[[Sequence[Unit], Sequence[Any | JobError], float], None]
"""Called with the items, an output or an error for each, and the seconds that the batch took."""


class Batcher:
    """The queue in front of one model, and the thread that empties it."""

    def __init__(self, predictor: Predictor, bench: Bench, device: threading.Lock, delay_s: float, done: Done) -> None:
        """`device` is held during a predict: one model at a time has the device."""
        self.activity = Activity()
        self.coming = 0
        """Items admitted and not yet decoded; changed under the bench's lock."""

        self._predictor = predictor
        self._bench = bench
        self._device = device
        self._delay_s = delay_s
        self._done = done
        self._waiting: deque[Unit] = deque()
        self._arrived = threading.Condition(bench.lock)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def full(self) -> bool:
        """Whether enough decoded items wait; asked under the bench's lock."""
        return len(self._waiting) >= WAITING_BATCHES * self._predictor.max_batch

    def expect(self, items: int) -> None:
        """So many items are on their way (or, negative, will not come after all)."""
        with self._bench.lock:
            self.coming += items
            self._arrived.notify()

    def put(self, unit: Unit) -> None:
        """A decoded item waits."""
        with self._bench.lock:
            self._waiting.append(unit)
            self.coming -= 1
            self._arrived.notify()

    def close(self) -> None:
        """Stop once nothing waits."""
        with self._bench.lock:
            self._closed = True
            self._arrived.notify()

    def _run(self) -> None:
        while units := self._take():
            self.activity.begin("predict", tuple({unit.attempt: None for unit in units}))
            outputs = self._predict(units)
            self._done(units, outputs, self.activity.end())

    def _take(self) -> list[Unit]:
        most = self._predictor.max_batch
        with self._bench.lock:
            while not self._waiting and not self._closed:
                self._arrived.wait()
            give_up = time.monotonic() + self._delay_s
            while len(self._waiting) < most and self.coming > 0 and (left := give_up - time.monotonic()) > 0:
                self._arrived.wait(left)
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._bench.moved()
            return taken

    def _predict(self, units: Sequence[Unit]) -> list[Any | JobError]:
        try:
            with self._device:
                outputs = list(self._predictor.predict([unit.decoded for unit in units]))
            if len(outputs) != len(units):
                raise RuntimeError(f"predict gave {len(outputs)} outputs for {len(units)} items")
            return outputs
        except Exception as error:
            coded = as_job_error(error, "predict")
            if len(units) == 1:
                return [coded]
            if not isinstance(coded, OutOfMemory):
                log.warning("a batch of %d items raised %s; cut in two", len(units), type(error).__name__)
            middle = len(units) // 2
            return self._predict(units[:middle]) + self._predict(units[middle:])
