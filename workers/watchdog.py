"""Proves that the worker lives, renews its leases, hears of cancels, and ends what runs too long.

Leases are renewed while every activity is inside its budget: a job's own `timeout_s` plus a grace for decode and
predict, `load_s` for loading, whether or not a job waits for the model. Past it the thread is stuck and cannot be
stopped in Python, so the process hands back what it can and exits; its supervisor starts another.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from db import jobs, workers
from db.engine import Database
from jobs.errors import DatabaseUnavailable, JobError
from jobs.settings import Settings
from jobs.states import Outcome
from workers import metrics
from workers.attempt import Attempt
from workers.bench import Activity
from workers.blame import where
from workers.ending import back_to_queue
from workers.line import Line
from workers.place import EXIT_STUCK
from workers.usage import Usage

log = logging.getLogger("medjobs.workers")

TICK_S = 0.5


class Watchdog:
    """One thread. `activities` lists what every other thread is doing now."""

    def __init__(
        self,
        db: Database,
        line: Line,
        settings: Settings,
        worker: workers.Worker,
        activities: Callable[[], Iterable[Activity]],
        drain: Callable[[], None],
        warm: Callable[[], None] | None = None,
        connected: Callable[[], bool] = lambda: True,
        resident: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """Starts the thread. `drain` is called when the worker's control column says so, `warm` (None: not at all) with
        every heartbeat, to load the default models that were promoted meanwhile; `connected` tells whether Celery has
        its Redis, `resident` what is loaded."""
        self.state = "running"
        self._db = db
        self._line = line
        self._settings = settings
        self._worker = worker
        self._activities = activities
        self._drain = drain
        self._warm = warm
        self._connected = connected
        self._resident = resident
        self._usage = Usage(worker.device)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop; no lease is renewed any more."""
        self._stopped.set()
        self._thread.join(10)

    def _run(self) -> None:
        settings = self._settings
        every = {self.renew: settings.renew_inference_s, self.beat: settings.heartbeat_s, self.tell: 1.0}
        if self._warm is not None:
            every[self._warm] = settings.heartbeat_s
        due: dict[Callable[[], None], float] = dict.fromkeys(every, 0.0)
        while not self._stopped.is_set():
            self.look()
            for step, at in due.items():
                if time.monotonic() >= at:
                    due[step] = time.monotonic() + every[step]
                    self._attempt(step)
            self._stopped.wait(min(TICK_S, self._settings.renew_inference_s))

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except DatabaseUnavailable:
            log.warning("the database is away; leases are not renewed")
        except Exception as error:
            log.error("%s in the watchdog: %s", type(error).__name__, where(error))

    def renew(self) -> None:
        """One UPDATE for all leases, which also says what was cancelled and what is no longer ours."""
        held = {job_id: attempt.claim.fence for job_id, attempt in list(self._line.held.items())}
        found = jobs.renew(self._db, self._worker.id, held, self._settings.lease_inference_s)
        for job_id in found.cancelled:
            self._line.cancel(job_id)
        for job_id in found.lost:
            self._line.lose(job_id)

    def beat(self) -> None:
        """The heartbeat, by which a crash is told from an outage; its answer may be the order to drain."""
        figures, held, batches = self._usage.now(), list(self._line.held), self._line.batches.take()
        worker, memory = self._worker, {**figures, **self._resident()}
        metrics.show(worker.pool, worker.device, figures)
        metrics.LEASES.labels(worker.pool, worker.device).set(len(held))
        metrics.MODELS.labels(worker.pool, worker.device).set(len(self._line.models.all()))
        metrics.CONNECTED.labels(worker.pool, worker.device).set(self._connected())
        try:
            told = workers.heartbeat(self._db, worker.id, held[:200], memory, self.state, batches)
        except DatabaseUnavailable:
            self._line.batches.give_back(batches)
            raise
        if told is None:
            workers.register(self._db, self._worker)
        elif told == "drain":
            self._drain()

    def tell(self) -> None:
        """Progress of jobs with several items."""
        for attempt in list(self._line.held.values()):
            news = attempt.news()
            if news is not None:
                fraction, message = news
                claim = attempt.claim
                jobs.progress(self._db, claim.id, claim.fence, fraction=fraction, stage="predict", message=message)

    def look(self) -> None:
        """End jobs that are over their time; leave the process where a thread is stuck."""
        busy = list(self._activities())
        for activity in busy:
            if self._stuck(activity):
                self.leave(activity)
        shared = {id(a) for activity in busy for a in activity.attempts if len(activity.attempts) > 1}
        for attempt in list(self._line.held.values()):
            if attempt.overdue() and not attempt.ended:
                if id(attempt) in shared and not attempt.overdue(self._settings.timeout_grace_s):
                    continue  # its batch may be what is stuck, and then it is not known whose fault it is
                self._line.time_out(attempt)

    def _stuck(self, activity: Activity) -> bool:
        age = time.monotonic() - activity.since
        if activity.phase == "load":
            return age > self._settings.load_s
        if not activity.phase or not activity.attempts:
            return False
        shortest = min((attempt.claim.timeout_s for attempt in activity.attempts), default=age)
        return age > shortest + self._settings.timeout_grace_s

    def leave(self, activity: Activity) -> None:
        """Hand back and exit. One job in the stuck activity: it timed out. Several: each is under suspicion, and the
        next attempt runs each alone. The jobs beside them are free at once, uncharged."""
        stuck = [attempt for attempt in activity.attempts if attempt.id in self._line.held]
        log.error("%s is stuck with %d job(s); this process hands back its jobs and exits", activity.phase, len(stuck))
        threading.Timer(10.0, os._exit, (EXIT_STUCK,)).start()
        try:
            self._hand_back(stuck, activity.phase)
        except Exception as error:
            log.error("%s while leaving; the leases run out by themselves", type(error).__name__)
        finally:
            os._exit(EXIT_STUCK)

    def _hand_back(self, stuck: list[Attempt], phase: str) -> None:
        line = self._line
        beside = [attempt for attempt in list(line.held.values()) if attempt not in stuck]
        line.hand_back(beside)
        if phase == "load":
            error = JobError("Loading the model did not end.")
            line.end(*(back_to_queue(one, Outcome.RETRIED, error, self._settings) for one in stuck))
        elif len(stuck) == 1:
            line.time_out(stuck[0])
        self._settle()
        if len(stuck) > 1:
            jobs.abandon_worker(self._db, self._worker.id, charge=True, max_crashes=self._settings.max_crashes)
        workers.gone(self._db, self._worker.id)

    def _settle(self) -> None:
        """Wait until the endings are committed."""
        line, until = self._line, time.monotonic() + 5.0
        while any(attempt.ended for attempt in list(line.held.values())) and time.monotonic() < until:
            time.sleep(0.02)
