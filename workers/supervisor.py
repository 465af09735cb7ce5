"""Keeps worker processes alive, each on its device or devices.

It imports neither torch nor Celery: it costs little and rarely dies.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from jobs.ids import new_id
from jobs.settings import Settings
from workers.devices import environment
from workers.exposing import RESTARTS, SUPERVISING, Shared
from workers.place import EXIT_DEVICE, EXIT_STUCK, Place, words
from workers.starting import SUPERVISED, child_environment, serve_metrics

log = logging.getLogger("medjobs.workers")

PAUSE_S = 0.5
"""Before a process that died is started again; it doubles while the process cannot start."""

DEVICE_S = 600.0
"""One that finds its GPU failed lives for as long as torch takes to be imported, or until a job uses the GPU: only a
life of this length says that the GPU is well."""

STOP_S = 10.0
"""Time to end once the drain is over; and once killed, which only the kernel can put off."""


@dataclass
class Child:
    """One process."""

    pool: str
    device: str
    """Its device, or several with commas between them."""

    index: int
    place: Place
    worker_id: str = ""
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause_s: float = PAUSE_S
    due_at: float = 0.0


def _of(child: Child) -> dict[str, str]:
    return {"worker": child.worker_id}


class Supervisor:
    """Starts, restarts and stops the processes."""

    def __init__(self, settings: Settings, pool: str, devices: list[str], metrics: str = "") -> None:
        """One child for each entry of `devices`. At `metrics` ("HOST:PORT") it serves those of all."""
        self._settings = settings
        self._host = socket.gethostname()
        names = [f"{self._host}:{pool}:{index}" for index, _ in enumerate(devices)]
        self._children = [
            Child(pool, device, index, Place(settings, name, pool, device))
            for index, (name, device) in enumerate(zip(names, devices, strict=True))
        ]
        for device in devices:
            RESTARTS.labels(pool, device)
        self._base = {**child_environment(os.environ), SUPERVISED: str(os.getpid())}
        self._stopping = threading.Event()
        self._metrics = metrics
        self._shared = Shared() if metrics else None

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        if self._shared is not None:
            serve_metrics(self._metrics, SUPERVISING, self._shared.path)
        while not self._stopping.is_set() and self._children:
            for child in list(self._children):
                self._look_after(child)
            self._stopping.wait(0.1)
        self._stop()
        if self._shared is not None:
            self._shared.close()
        return 0

    def _look_after(self, child: Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.due_at:
                self._start(child)
            elif child.pause_s > PAUSE_S:
                child.place.show(self._host)
            return
        status = child.process.poll()
        if status is None:
            self._watch(child)
            return
        if self._shared is not None:
            self._shared.ended(child.index)
        if status == 0:
            log.info("worker %s has drained and stopped, as it was told", child.worker_id, extra=_of(child))
            self._children.remove(child)
            return
        RESTARTS.labels(child.pool, child.device).inc()
        child.process, child.due_at = None, time.monotonic()
        lived = child.due_at - child.started_at
        child.place.died(status, lived)
        message = "worker %s: %s after %.0f s; another starts"
        log.warning(message, child.worker_id, words(status), lived, extra=_of(child))
        if status != EXIT_STUCK:
            # The growing pause is for what cannot start: what is killed at work is missed at work.
            grown_s = min(self._settings.restart_cap_s, child.pause_s * 2)
            settled_s = DEVICE_S if status == EXIT_DEVICE else self._settings.settled_s
            child.pause_s = PAUSE_S if self._bury(child) > settled_s else grown_s
            child.due_at += child.pause_s

    def _watch(self, child: Child) -> None:
        """One that could not start is shown as such until the next has lived for a while."""
        if time.monotonic() - child.started_at > self._settings.settled_s:
            child.place.hide()
        elif child.pause_s > PAUSE_S:
            child.place.show(self._host)

    def _start(self, child: Child) -> None:
        child.worker_id = f"{child.place.name}:{new_id()[-6:]}"
        command = [sys.executable, "-P", "-m", "workers", "--pool", child.pool, "--device", child.device]
        command += ["--worker-id", child.worker_id]
        base = self._base | child.place.environment()
        if self._shared is not None:
            base |= self._shared.environment(child.index)
        child.process = subprocess.Popen(command, env=environment(child.device, base), cwd=self._settings.home)
        child.started_at = time.monotonic()

    def _bury(self, child: Child) -> float:
        """We saw it die: its jobs need not wait for their leases. Each is charged a crash, for one may be the cause.

        Returns how long it was registered, 0 for not at all or not to be known.
        """
        from db import jobs, workers
        from db.engine import Database

        db = Database(self._settings.database, wait_s=self._settings.database_wait_s)
        try:
            back = jobs.abandon_worker(db, child.worker_id, charge=True, max_crashes=self._settings.max_crashes)
            log.warning("%d jobs of worker %s went back to the queue", len(back), child.worker_id)
            return workers.gone(db, child.worker_id) or 0.0
        except Exception as error:
            log.error("%s; the leases of worker %s run out by themselves", type(error).__name__, child.worker_id)
            return 0.0
        finally:
            db.close()

    def _stop(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        for child in self._children:
            child.place.hide()
        until = time.monotonic() + self._settings.drain_s + STOP_S
        for process in running:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        for process in running:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                log.error("process %d was killed and does not end: a device driver or a disk holds it", process.pid)
