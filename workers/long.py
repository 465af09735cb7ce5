"""The long-job worker: Celery's prefork pool with one child at a time, started by `spawn`, a fresh one for each job.

This process never imports torch. It beats the heart, gives its orders (drain, cancel) as columns that the child reads,
and ends a child that no longer moves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from typing import Any

from celery.worker import state as celery_state

from broker.app import make_app
from broker.queues import queue
from broker.telling import Teller
from db import jobs, reading, workers
from db.engine import Database
from jobs.errors import DatabaseUnavailable
from jobs.needs import served
from jobs.settings import Settings
from models.registry import kinds
from storage.files import Storage
from workers import memory, metrics
from workers.blame import where
from workers.flower import Flower
from workers.longapp import LongApp
from workers.longrequest import LongRequest
from workers.longtask import DEVICE, NODE, QUEUES, WORKER_ID, alive_file
from workers.place import history
from workers.provenance import code_version
from workers.receiving import answer_revoke, connected
from workers.starting import register_shipped
from workers.usage import Usage

log = logging.getLogger("medjobs.workers")


class LongWorker:
    """The parent process."""

    def __init__(self, settings: Settings, device: str, worker_id: str) -> None:
        """Opens nothing but the database's pool. `device` may be several: "cuda:0,cuda:1"."""
        self.settings = settings
        self.db = Database(settings.database, pool_size=4, wait_s=settings.database_wait_s)
        self.node = f"{worker_id}@{socket.gethostname()}"
        self.flower = Flower(Teller(settings, self.node))
        self._alive = alive_file(settings, worker_id)
        self._touched, self._moved_at = 0.0, time.monotonic()
        self._draining = threading.Event()
        self._hurry = threading.Event()
        self._stopped = threading.Event()
        self.queues = served(device, memory.limit(device, 0))
        told = {WORKER_ID: worker_id, NODE: self.node, DEVICE: device, QUEUES: ",".join(self.queues)}
        os.environ.update(told)
        # billiard starts its child by `python -c`, which would put the working directory first on the path.
        os.environ["PYTHONSAFEPATH"] = "1"
        known = sorted(kind.name for kind in kinds().values() if kind.pool == "long" and kind.runner)
        facts = {"kinds": known, "queues": self.queues, "code_version": code_version(), "node": self.node, **history()}
        self.worker = workers.Worker(worker_id, socket.gethostname(), os.getpid(), "long", device, facts)

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        register_shipped(self.db, Storage(self.settings.storage, self.settings.home / "cache"))
        workers.register(self.db, self.worker)
        LongRequest.on_lost = staticmethod(self._child_died)
        answer_revoke(self._cancel_soon)
        app = make_app(self.settings, LongApp)
        # The child imports the kinds; on a busy machine that takes longer than Celery's 4 seconds.
        app.conf.worker_proc_alive_timeout = 120.0
        # A child per job: only the end of a process gives back all that it held of a GPU (torch's cache, CUDA's own
        # context), and until then the next job would find no room, nor inference. The next child starts at once.
        app.conf.worker_max_tasks_per_child = 1
        app.set_default()
        self.controller = app.WorkController(
            hostname=self.node, pool_cls="prefork", concurrency=1, task_events=True,
            queues=[queue("long", need) for need in self.queues],
            without_mingle=True, without_gossip=True, loglevel=logging.WARNING,
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.drain())
        threading.Thread(target=self._look_after, name="heart", daemon=True).start()
        log.info("worker %s takes jobs", self.worker.id)
        self.controller.start()
        self._stopped.set()
        workers.gone(self.db, self.worker.id)
        self._alive.unlink(missing_ok=True)
        self.db.close()
        log.info("worker %s has stopped", self.worker.id)
        return 0 if self._draining.is_set() else 1  # Celery returns from what it cannot go on after, too

    def drain(self) -> None:
        """Take no more; let the running job reach a checkpoint within `drain_s`, then end it. Asked twice: at once."""
        if self._draining.is_set():
            self._hurry.set()
            return
        self._draining.set()
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def _drain(self) -> None:
        consumer = getattr(self.controller, "consumer", None)
        if consumer is not None and consumer.hub is not None and consumer.task_consumer is not None:
            consumer.hub.call_soon(consumer.task_consumer.cancel)
        self._try(lambda: workers.drain(self.db, self.worker.id))
        until = time.monotonic() + self.settings.drain_s
        while self._busy() and time.monotonic() < until and not self._hurry.is_set():
            time.sleep(0.05)
        if self._busy():
            self._kill_child()
            self._try(lambda: jobs.abandon_worker(self.db, self.worker.id, charge=False))
        celery_state.should_stop = 0
        if consumer is not None and consumer.hub is not None:
            consumer.hub.call_soon(lambda: None)

    def _look_after(self) -> None:
        usage = Usage(self.worker.device, children=True)
        while not self._stopped.is_set():
            self._try(lambda: self._beat(usage))
            if self._silent():
                log.error("the child has not moved for %.0f s; it is killed", self.settings.silent_s)
                self._kill_child()
            self._stopped.wait(self.settings.heartbeat_s)

    def _beat(self, usage: Usage) -> None:
        memory = usage.now()
        running = [request.id for request in list(celery_state.active_requests)]
        state = "draining" if self._draining.is_set() else "running"
        worker = self.worker
        metrics.show(worker.pool, worker.device, memory)
        metrics.LEASES.labels(worker.pool, worker.device).set(len(running))
        metrics.CONNECTED.labels(worker.pool, worker.device).set(connected(getattr(self, "controller", None)))
        told = workers.heartbeat(self.db, self.worker.id, running, memory, state)
        if told is None:
            workers.register(self.db, self.worker)
        elif told == "drain" and not self._draining.is_set():
            self.drain()

    def _busy(self) -> bool:
        return bool(celery_state.active_requests) or bool(celery_state.reserved_requests)

    def _silent(self) -> bool:
        """Whether a job runs whose child no longer touches its file, or never began to: it holds the interpreter's lock
        in foreign code, or hangs before its first fetch. By our own clock: the host's may be set meanwhile."""
        try:
            touched = self._alive.stat().st_mtime
        except FileNotFoundError:
            touched = 0.0
        if touched != self._touched or not celery_state.active_requests:
            self._touched, self._moved_at = touched, time.monotonic()
        return time.monotonic() - self._moved_at > self.settings.silent_s

    def _kill_child(self) -> None:
        for request in list(celery_state.active_requests):
            pid = getattr(request, "worker_pid", None)
            if isinstance(pid, int):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _child_died(self, job_id: str) -> None:
        """Its job goes back to the queue at once; a crash is charged, for the job may be what kills. No other: by the
        time that the database hears of it, the next child may run one."""
        fence = self._fence_of(job_id)
        self._alive.unlink(missing_ok=True)
        if not self._draining.is_set():
            self._try(lambda: self._take_back(job_id, fence))

    def _fence_of(self, job_id: str) -> int | None:
        """The fence under which the child ran the job; None where it died before it could say."""
        try:
            named, fence = self._alive.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(fence) if named == job_id else None

    def _take_back(self, job_id: str, fence: int | None) -> None:
        most = self.settings.max_crashes
        jobs.abandon_worker(self.db, self.worker.id, charge=True, max_crashes=most, job_id=job_id, fence=fence)
        job = reading.get(self.db, job_id)
        if job is None:
            return
        shown = {"failed": self.flower.failed(job_id, "worker-crashed"), "cancelled": self.flower.revoked(job_id)}
        self.flower.tell([shown.get(job.state.value, self.flower.retried(job_id, "worker-lost"))])

    def _cancel_soon(self, ids: list[str]) -> None:
        def cancel() -> None:
            for job_id in ids:
                answer = jobs.request_cancel(self.db, job_id, None)
                if answer is not None and answer.state.value == "cancelled":
                    self.flower.tell([self.flower.revoked(job_id)])

        threading.Thread(target=lambda: self._try(cancel), name="cancel", daemon=True).start()

    def _try(self, step: Any) -> None:
        try:
            step()
        except DatabaseUnavailable:
            log.warning("the database is away")
        except Exception as error:
            log.error("%s in the long worker: %s", type(error).__name__, where(error))
