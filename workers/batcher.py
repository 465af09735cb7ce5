"""Turns waiting items into batches for one loaded model.

Takes what waits, up to the largest batch; waits for more only while more is on its way, and never longer than
`batch_delay_ms`. A batch that raises is cut in two until the item that is to blame stands alone; one that found no
memory likewise, and the batches after it are no larger for a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from jobs.errors import DeviceLost, JobError, OutOfMemory
from jobs.predicting import Predictor
from workers.attempt import Unit
from workers.bench import Activity, Bench
from workers.blame import as_job_error, device_absent
from workers.memory import Gauge
from workers.relief import Relief

log = logging.getLogger("medjobs.workers")

WAITING_BATCHES = 2
"""Decoded batches that may wait for the model: more would only hold memory."""

MEASURED = 8
"""Batches whose memory is measured: later ones take what these did."""

GROWS_AFTER = 50
"""Batches of a size that memory had to be cut down to, before twice that is tried."""

Done = Callable[[Sequence[Unit], Sequence[Any | JobError], float], None]
"""Called with the items, an output or an error for each, and the seconds that the batch took."""

Lost = Callable[[bool], None]
"""Called where the device cannot be used any more, with whether what ran there may be to blame."""


class Batcher:
    """The queue in front of one model, and the thread that empties it."""

    def __init__(
        self, predictor: Predictor, bench: Bench, device: threading.Lock, delay_s: float, done: Done,
        lost: Lost = lambda blame: None,
    ) -> None:  # fmt: skip
        """`device` is held during a predict: one model at a time has the device."""
        self.activity = Activity()
        self.coming = 0
        """Items admitted and not yet decoded; changed under the bench's lock."""

        self.relief: Relief | None = None
        self.gauge: Gauge | None = None
        """Set, where there are any, before the first item comes."""

        self.peak = 0
        """The most that a predict was seen to take beside the model itself, in bytes."""

        self._predictor = predictor
        self._most = predictor.max_batch
        self._good = self._measured = 0
        self._bench = bench
        self._device = device
        self._delay_s = delay_s
        self._done = done
        self._lost = lost
        self._waiting: deque[Unit] = deque()
        self._arrived = threading.Condition(bench.lock)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether its model predicts now, be it for attempts that are over."""
        return bool(self.activity.phase)

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

    def join(self) -> None:
        """Wait until the thread of a closed one that has nothing to do is gone: it holds the model."""
        self._thread.join(1.0)

    def _run(self) -> None:
        while units := self._take():
            self.activity.begin("predict", tuple({unit.attempt: None for unit in units}))
            outputs = self._predict(units)
            self._done(units, outputs, self.activity.end())

    def _take(self) -> list[Unit]:
        most = self._most
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
        made = self._try(self._predictor, units)
        if isinstance(made, list):
            self._grow(len(units))
            return made
        if len(units) == 1:
            return [self._alone(units[0], made) if isinstance(made, OutOfMemory) else made]
        middle = len(units) // 2
        if isinstance(made, OutOfMemory):
            self._shrink(units, middle)
        else:
            log.warning("a batch of %d items raised an error; cut in two", len(units))
        return self._predict(units[:middle]) + self._predict(units[middle:])

    def _try(self, predictor: Predictor, units: Sequence[Unit]) -> list[Any] | JobError:
        """One predict. Its exception is gone when this returns, and with its frames what they held of the device."""
        try:
            if predictor is not self._predictor:
                return _checked(predictor.predict([unit.decoded for unit in units]), units)
            with self._device:
                before = self.gauge.start() if self.gauge and self._measured < MEASURED else None
                outputs = _checked(predictor.predict([unit.decoded for unit in units]), units)
                if self.gauge and before is not None:
                    self._measured += 1
                    self.peak = max(self.peak, self.gauge.grown(before))
                return outputs
        except Exception as error:
            coded, blame = as_job_error(error, "predict"), not device_absent(error)
        if isinstance(coded, DeviceLost):
            self._lost(blame)
        return coded

    def _shrink(self, units: Sequence[Unit], most: int) -> None:
        """Memory ran out: smaller batches from now on, and each job says so in its result."""
        log.warning("no memory for a batch of %d items; now at most %d", len(units), most)
        self._most, self._good = most, 0
        if self.relief:
            self.relief.free()
        for unit in units:
            unit.attempt.batch_size = min(unit.attempt.batch_size or most, most)

    def _grow(self, size: int) -> None:
        """What took the memory may have gone: after many full batches, larger ones are tried again."""
        if size < self._most or self._most >= self._predictor.max_batch:
            return
        self._good += 1
        if self._good >= GROWS_AFTER:
            self._most, self._good = min(self._predictor.max_batch, 2 * self._most), 0

    def _alone(self, unit: Unit, error: JobError) -> Any | JobError:
        """No memory for one item: without the idle models, then on the CPU where that is allowed."""
        relief, attempt = self.relief, unit.attempt
        attempt.batch_size = 1
        if relief is None:
            return error
        relief.free()
        if relief.evict() and isinstance(again := self._try(self._predictor, [unit]), list):
            return again[0]
        try:
            other = relief.elsewhere()
        except Exception as failed:
            log.error("the model cannot be loaded on the CPU: %s", as_job_error(failed, "load").code)
            return error
        if other is None:
            return error
        attempt.cpu_items += 1
        made = self._try(other, [unit])
        return made[0] if isinstance(made, list) else made


def _checked(outputs: Sequence[Any], units: Sequence[Unit]) -> list[Any]:
    made = list(outputs)
    if len(made) != len(units):
        raise RuntimeError(f"predict gave {len(made)} outputs for {len(units)} items")
    return made
