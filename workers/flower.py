"""What Flower is told of each job: ids, names and codes, never a caller's data."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from broker.queues import task_name
from broker.wire import Event, event


class Tells(Protocol):
    """Whatever publishes events (broker.telling.Teller)."""

    hostname: str

    def tell(self, events: Sequence[Event]) -> None:
        """Publish; never raises."""


class Flower:
    """Celery's task events for jobs, worded as Flower expects them."""

    def __init__(self, teller: Tells) -> None:
        """`teller` publishes; its connection is used by one thread at a time."""
        self._teller = teller
        self._lock = threading.Lock()

    def tell(self, events: Sequence[Event]) -> None:
        """Publish; never raises."""
        with self._lock:
            self._teller.tell(events)

    def started(self, job_id: str, kind: str) -> list[Event]:
        """A worker has claimed the job."""
        host = self._teller.hostname
        named = {"name": task_name(kind), "args": f"('{job_id}',)", "kwargs": "{}"}
        received = event("task-received", job_id, host, **named, retries=0, eta=None, expires=None, root_id=job_id)
        return [received, event("task-started", job_id, host)]

    def succeeded(self, job_id: str, runtime_s: float) -> Event:
        """SUCCESS; the result itself stays in the database."""
        return event("task-succeeded", job_id, self._teller.hostname, result="", runtime=runtime_s)

    def failed(self, job_id: str, code: str) -> Event:
        """FAILURE, with our code in the place of the exception."""
        return event("task-failed", job_id, self._teller.hostname, exception=code, traceback="")

    def retried(self, job_id: str, code: str) -> Event:
        """RETRY: the job went back to the queue."""
        return event("task-retried", job_id, self._teller.hostname, exception=code, traceback="")

    def revoked(self, job_id: str) -> Event:
        """REVOKED: the job was cancelled."""
        return event("task-revoked", job_id, self._teller.hostname, terminated=False, signum=None, expired=False)
