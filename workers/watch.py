"""The thread beside a long job."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from db import jobs, reading, workers
from jobs.errors import DatabaseUnavailable
from workers.blame import where
from workers.work import CANCELLED, DRAINED, LOST, TIMED_OUT, Bound, LongWork

log = logging.getLogger("medjobs.workers")

EVENTS_S = 1.0
"""Progress, metrics and logs are written together this often."""


class Watch:
    """Renews the job's lease, reads its control columns, writes its news, and ends the process when the runner does not
    stop. On every round it touches a file, for the parent to see that this process lives."""

    def __init__(self, bound: Bound, work: LongWork, alive: Path, end_deaf: Callable[[str], Any]) -> None:
        """Starts the thread. `alive` is the file that names the attempt, and whose time it keeps fresh; `end_deaf`
        commits, for the reason given, the end of a job whose runner does not listen."""
        self._bound = bound
        self.work = work
        self._alive = alive
        self._end_deaf = end_deaf
        self._begun = time.monotonic()
        self._stop_asked_at: float | None = None
        self._finished = threading.Event()
        alive.write_text(f"{bound.claim.id} {bound.claim.fence}")
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """The attempt is over: renew no more."""
        self._finished.set()
        self._thread.join(30)
        self._alive.unlink(missing_ok=True)

    def _run(self) -> None:
        settings = self._bound.settings
        steps = {self.control: settings.control_s, self.renew: settings.renew_long_s, self.tell: EVENTS_S}
        due = dict.fromkeys(steps, 0.0)
        while not self._finished.is_set():
            for step, every in steps.items():
                self._alive.touch()  # before each: with the database away a step takes long
                if time.monotonic() >= due[step]:
                    due[step] = time.monotonic() + every
                    self._try(step)
            self._enforce()
            self._finished.wait(min(0.25, settings.control_s))

    def _try(self, step: Callable[[], Any]) -> None:
        try:
            step()
        except DatabaseUnavailable:
            log.warning("the database is away; job %s runs on", self.work.job_id)
        except Exception as error:
            log.error("%s beside a long job: %s", type(error).__name__, where(error))

    def control(self) -> None:
        """Cancelled? Draining? Both are columns, so nobody needs to reach this process."""
        claim = self._bound.claim
        job = reading.get(self._bound.db, claim.id)
        if job is None or job.fence != claim.fence:
            self.work.stop(LOST)
        elif job.cancel_requested_at is not None:
            self.work.stop(CANCELLED)
        elif self._drain_asked():
            self.work.stop(DRAINED)

    def renew(self) -> None:
        """Only while the runner makes progress. An epoch takes many steps."""
        bound = self._bound
        still_s = time.monotonic() - self.work.stepped_at
        if still_s > bound.settings.stall_s:
            log.error("job %s made no step for %.0f s; its lease is not renewed", self.work.job_id, still_s)
            return
        held = {bound.claim.id: bound.claim.fence}
        if jobs.renew(bound.db, bound.worker_id, held, bound.settings.lease_long_s).lost:
            self.work.stop(LOST)

    def tell(self) -> None:
        """Write what the runner said."""
        self.work.tell()

    def _drain_asked(self) -> bool:
        live = workers.live(self._bound.db, self._bound.settings.worker_dead_s)
        return any(worker.id == self._bound.worker_id and worker.control == "drain" for worker in live)

    def _enforce(self) -> None:
        """Past its `timeout_s` it is told to stop; told to stop and deaf to it, it is ended with its process."""
        if time.monotonic() - self._begun > self._bound.claim.timeout_s:
            self.work.stop(TIMED_OUT)
        reason = self.work.stopping
        if reason is None:
            return
        self._stop_asked_at = self._stop_asked_at or time.monotonic()
        if reason != DRAINED and time.monotonic() - self._stop_asked_at > self._bound.settings.timeout_grace_s:
            log.error("job %s does not stop (%s); its process ends", self.work.job_id, reason)
            self._try(self.tell)
            self._try(partial(self._end_deaf, reason))
            os._exit(0)
