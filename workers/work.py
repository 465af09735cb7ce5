"""One attempt at a long job: what its runner is handed (jobs.running.Work), and the thread that watches over it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db import jobs, reading, workers
from db.engine import Database
from db.records import Claim
from jobs.errors import DatabaseUnavailable
from jobs.kinds import Params
from jobs.predicting import ModelVersion, Source
from jobs.running import Checkpoints, Stop
from jobs.settings import Settings
from storage.checkpoints import StoredCheckpoints
from workers.blame import where

log = logging.getLogger("medjobs.workers")

CANCELLED, DRAINED, LOST, TIMED_OUT = "cancelled", "drained", "lost", "timeout"
"""Why a long job is told to stop."""

STALL_S = 600.0
"""Without a step for this long the job makes no progress: its lease is not renewed. An epoch takes many steps."""

EVENTS_S = 1.0
"""Progress, metrics and logs are written together this often: each is a transaction of its own."""

MOST_EVENTS = 200
"""Metrics and logs that one writing takes; a runner that says more loses the oldest metrics."""


@dataclass(frozen=True)
class Bound:
    """What binds an attempt to the database: whose it is, and under which fence."""

    db: Database
    settings: Settings
    claim: Claim
    worker_id: str


class FencedCheckpoints:
    """Checkpoints that also tell the database that earlier crashes are forgiven."""

    def __init__(self, bound: Bound, stored: StoredCheckpoints, work: LongWork) -> None:
        """`stored` keeps the files under this attempt's fence."""
        self._bound = bound
        self._stored = stored
        self._work = work

    def save(self, files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        """Store, then reset the crash count; raises `Stop` where the job is no longer ours."""
        self._stored.save(files, manifest)
        claim = self._bound.claim
        if not jobs.checkpointed(self._bound.db, claim.id, claim.fence):
            self._work.stop(LOST)
            raise Stop

    def newest(self) -> tuple[dict[str, bytes], dict[str, Any]] | None:
        """The newest checkpoint whose checksums hold, of this or an earlier attempt."""
        return self._stored.newest()


class LongWork:
    """The running attempt. Its methods cost microseconds; the watch thread writes what they left."""

    def __init__(
        self, bound: Bound, params: Params, sources: tuple[Source, ...], model: ModelVersion | None, device: str,
        folder: Path, stored: StoredCheckpoints,
    ) -> None:  # fmt: skip
        """`device` as torch names it in this process."""
        claim = bound.claim
        self.job_id = claim.id
        self.kind = claim.kind
        self.params = params
        self.sources = sources
        self.model = model
        self.seed = claim.seed
        self.device = device
        self.folder = folder
        self.checkpoints: Checkpoints = FencedCheckpoints(bound, stored, self)
        self.stopping: str | None = None
        """Why the job is to stop, once it is."""

        self.stepped_at = time.monotonic()
        self._progress: tuple[float, str, str] | None = None
        self._events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MOST_EVENTS)
        self._lock = threading.Lock()

    def step(self) -> None:
        """Raises `Stop` when the job is to stop."""
        self.stepped_at = time.monotonic()
        if self.stopping is not None:
            raise Stop

    def progress(self, fraction: float, stage: str, message: str = "") -> None:
        """How far the job is; written within a second."""
        self.stepped_at = time.monotonic()
        self._progress = (fraction, stage, message)

    def metric(self, name: str, value: float, step: int) -> None:
        """One point of a curve."""
        with self._lock:
            self._events.append(("metric", {"name": name, "value": value, "step": step}))

    def log(self, message: str) -> None:
        """One line for the job's stream."""
        with self._lock:
            self._events.append(("log", {"message": message}))

    def stop(self, reason: str) -> None:
        """Tell the runner to stop; the first reason stands."""
        if self.stopping is None:
            self.stopping = reason

    def news(self) -> tuple[tuple[float, str, str] | None, list[tuple[str, dict[str, Any]]]]:
        """What was said since the last time."""
        with self._lock:
            events, progress = list(self._events), self._progress
            self._events.clear()
            self._progress = None
        return progress, events


class Watch:
    """The thread beside a long job: renews its lease, reads its control columns, writes its news, and ends the process
    when the runner does not stop. `touch` is called on every round, for the parent to see that this process lives."""

    def __init__(self, bound: Bound, work: LongWork, alive: Path) -> None:
        """Starts the thread; `alive` is the file whose time it keeps fresh."""
        self._bound = bound
        self._work = work
        self._alive = alive
        self._begun = time.monotonic()
        self._stop_asked_at: float | None = None
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """The runner returned: write the last news, renew no more."""
        self._finished.set()
        self._thread.join(30)
        self._try(self.tell)

    def _run(self) -> None:
        settings = self._bound.settings
        steps = {self.control: settings.control_s, self.renew: settings.renew_long_s, self.tell: EVENTS_S}
        due = dict.fromkeys(steps, 0.0)
        while not self._finished.is_set():
            self._alive.touch()
            for step, every in steps.items():
                if time.monotonic() >= due[step]:
                    due[step] = time.monotonic() + every
                    self._try(step)
            self._enforce()
            self._finished.wait(min(0.25, settings.control_s))

    def _try(self, step: Any) -> None:
        try:
            step()
        except DatabaseUnavailable:
            log.warning("the database is away; job %s runs on", self._work.job_id)
        except Exception as error:
            log.error("%s beside a long job: %s", type(error).__name__, where(error))

    def control(self) -> None:
        """Cancelled? Draining? Both are columns, so nobody needs to reach this process."""
        claim = self._bound.claim
        job = reading.get(self._bound.db, claim.id)
        if job is None or job.fence != claim.fence:
            self._work.stop(LOST)
        elif job.cancel_requested_at is not None:
            self._work.stop(CANCELLED)
        elif self._drain_asked():
            self._work.stop(DRAINED)

    def renew(self) -> None:
        """Only while the runner makes progress."""
        if time.monotonic() - self._work.stepped_at > STALL_S:
            log.error("job %s made no step for %.0f s; its lease is not renewed", self._work.job_id, STALL_S)
            return
        bound = self._bound
        held = {bound.claim.id: bound.claim.fence}
        if jobs.renew(bound.db, bound.worker_id, held, bound.settings.lease_long_s).lost:
            self._work.stop(LOST)

    def tell(self) -> None:
        """Write progress, metrics and logs; under an old fence they are refused."""
        claim, db = self._bound.claim, self._bound.db
        progress, events = self._work.news()
        for kind, data in events:
            jobs.append_event(db, claim.id, claim.fence, kind, data)
        if progress is not None:
            fraction, stage, message = progress
            jobs.progress(db, claim.id, claim.fence, fraction=fraction, stage=stage, message=message)

    def _drain_asked(self) -> bool:
        live = workers.live(self._bound.db, self._bound.settings.worker_dead_s)
        return any(worker.id == self._bound.worker_id and worker.control == "drain" for worker in live)

    def _enforce(self) -> None:
        """Past its `timeout_s` it is told to stop; told to stop and deaf to it, it is ended with its process."""
        if time.monotonic() - self._begun > self._bound.claim.timeout_s:
            self._work.stop(TIMED_OUT)
        if self._work.stopping is None:
            return
        self._stop_asked_at = self._stop_asked_at or time.monotonic()
        grace = self._bound.settings.timeout_grace_s
        if self._work.stopping != DRAINED and time.monotonic() - self._stop_asked_at > grace:
            log.error("job %s does not stop (%s); its process ends", self._work.job_id, self._work.stopping)
            self._try(self.end_deaf)
            os._exit(0)

    def end_deaf(self) -> None:
        """Commit the end of a job whose runner does not listen."""
        from workers.longtask import stopped

        ending = stopped(self._bound, self._work.stopping or LOST)
        if ending is not None:
            ending()
