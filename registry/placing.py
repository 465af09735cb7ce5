"""The queue that a job waits in: what its model version declares decides, and whether workers are set apart for it."""

from __future__ import annotations

import threading
import time
from functools import lru_cache

from db import workers
from db.engine import Database
from jobs.kinds import Kind
from jobs.needs import Device, declared, model_of, own_queue, queue_for
from models.catalogue import UnknownModel
from registry.versions import Registry

REMEMBERED_S = 2.0
"""Who is set apart for what is asked so often at most: a worker that came or went is noticed that much later."""


class Placing:
    """Answers for one process; any number of threads may ask."""

    def __init__(self, db: Database, registry: Registry, worker_dead_s: float) -> None:
        """Asks nothing yet."""
        self._db, self._registry, self._worker_dead_s = db, registry, worker_dead_s
        self._declared = lru_cache(4096)(self._asked)
        """A version never changes."""

        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._apart: set[str] = set()

    def queue(self, kind: Kind, model: str | None, version: int | None) -> str:
        """That of its model, while a live worker is set apart for it on a device that will do; else the general one."""
        if model is not None and kind.pool == "inference":
            device, _ = self._needs(kind, model, version)
            own = own_queue(model, device)
            if own in self._served_apart():
                return own
        return self.general(kind, model, version)

    def general(self, kind: Kind, model: str | None, version: int | None) -> str:
        """That of all devices which can run it."""
        return queue_for(*self._needs(kind, model, version))

    def _needs(self, kind: Kind, model: str | None, version: int | None) -> tuple[Device, int | None]:
        device, memory = (None, None) if model is None or version is None else self._declared(model, version)
        return device or kind.device, memory or kind.memory_bytes

    def _asked(self, model: str, version: int) -> tuple[Device | None, int | None]:
        try:
            return declared(self._registry.get(model, version).manifest)
        except UnknownModel:
            return None, None  # deleted since it was pinned: its job fails, whichever queue it waits in

    def _served_apart(self) -> set[str]:
        """The queues of single models that a live worker serves."""
        with self._lock:
            if time.monotonic() - self._looked_at > REMEMBERED_S:
                live = workers.live(self._db, self._worker_dead_s)
                served = {queue for worker in live for queue in workers.queues(worker)}
                self._apart = {queue for queue in served if model_of(queue) is not None}
                self._looked_at = time.monotonic()
            return self._apart
