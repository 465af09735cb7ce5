"""Threads for work on the processor: they fetch, decode, encode and store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from workers.attempt import Unit
from workers.bench import Activity, Bench
from workers.blame import where

log = logging.getLogger("medjobs.workers")


class Hands:
    """`count` threads that take what the bench offers."""

    def __init__(self, count: int, bench: Bench, decode: Callable[[Unit], None]) -> None:
        """Starts them."""
        self.activities = [Activity() for _ in range(count)]
        self._bench = bench
        self._decode = decode
        self._threads = [
            threading.Thread(target=self._run, args=(activity,), name=f"hand-{number}", daemon=True)
            for number, activity in enumerate(self.activities)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, activity: Activity) -> None:
        while (work := self._bench.next()) is not None:
            try:
                if isinstance(work, Unit):
                    activity.begin("decode", (work.attempt,))
                    self._decode(work)
                else:
                    activity.begin("encode", work.attempts)
                    work.run()
            except Exception as error:
                # The line answers for its own exceptions: one that gets here is a defect, and its job times out.
                log.error("%s in a hand: %s", type(error).__name__, where(error))
            finally:
                activity.end()
