"""How messages reach the worker: a Celery task per kind, whose strategy hands the id on instead of to a pool.

Celery's own strategy makes a request object, a tracer and a thread hand-over of every message. Ours only notes the id:
the line claims and runs jobs in groups, and tells Flower of each (celery-batches uses the same door). Receiving costs
90 µs of processor time a message.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from celery import Celery, Task
from celery.worker import state as celery_state
from celery.worker.control import Panel

from broker.queues import task_name

log = logging.getLogger("medjobs.workers")

Receive = Callable[[str], None]


class KindTask(Task):  # type: ignore[misc]
    """The Celery task of one kind of the inference pool."""

    Strategy = "workers.receiving:strategy"
    ignore_result = True
    typing = False
    abstract = False

    def __init__(self, kind: str, place: Place) -> None:
        """`place` takes the ids."""
        self.name = task_name(kind)
        self.place = place

    def run(self, job_id: str) -> None:
        """Called by nobody: the strategy takes the message. (Celery wants a task to be runnable.)"""
        self.place.receive(job_id)


class Held:
    """A job that takes a place in this worker, as Celery's own bookkeeping (and so Flower's worker page) sees it."""

    acknowledged = True
    eventer: Any = None

    def __init__(self, job_id: str, task: KindTask) -> None:
        """Just arrived."""
        self.id = job_id
        self.task = task
        self.name = task.name
        self.since = time.time()

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `inspect active` answers."""
        return {"id": self.id, "name": self.name, "args": [self.id], "kwargs": {}, "time_start": self.since,
                "acknowledged": True, "delivery_info": {}, "hostname": "", "worker_pid": None}  # fmt: skip


class Place:
    """Counts the jobs that this worker holds: with `worker_disable_prefetch` Celery asks for no more than fit.

    Celery's sets are touched by the event loop's thread alone.
    """

    def __init__(self, receive: Receive) -> None:
        """`receive` is told of each arriving id."""
        self.hub: Any = None
        """Celery's event loop (kombu.asynchronous.Hub), once it runs."""

        self.receive = receive
        self._held: dict[str, Held] = {}

    def arrive(self, job_id: str, task: KindTask) -> None:
        """A message came (the event loop's thread)."""
        if job_id in self._held:
            return  # a second message for a job that is here already
        held = self._held[job_id] = Held(job_id, task)
        celery_state.task_reserved(held)
        celery_state.task_accepted(held)
        self.receive(job_id)

    def leave(self, ids: Sequence[str]) -> None:
        """Jobs take no place any more (any thread). Wakes the event loop, which then asks Redis for more."""
        if ids and self.hub is not None:
            self.hub.call_soon(self._leave, list(ids))

    def _leave(self, ids: list[str]) -> None:
        for job_id in ids:
            held = self._held.pop(job_id, None)
            if held is not None:
                celery_state.task_ready(held)


def strategy(task: KindTask, app: Celery, consumer: Any) -> Callable[..., None]:
    """What Celery calls for each message of `task`."""
    place = task.place
    place.hub = consumer.hub

    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any) -> None:
        message.ack()
        job_id = message.headers.get("id")
        if isinstance(job_id, str):
            place.arrive(job_id, task)

    return handle


def connected(controller: Any) -> bool:
    """Whether a Celery worker (WorkController) has its connection to the broker."""
    consumer = getattr(controller, "consumer", None)
    connection = getattr(consumer, "connection", None)
    return bool(connection is not None and connection.connected)


def answer_revoke(cancel: Callable[[list[str]], None]) -> None:
    """Flower's buttons (revoke, terminate) become our durable cancel.

    Celery's own command would keep the id in memory and discard the job's messages here for hours, reruns included.
    """

    def revoke(state: Any, task_id: str | Sequence[str], **_: Any) -> dict[str, str]:
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        cancel(ids)
        return {"ok": f"cancel of {len(ids)} job(s) requested"}

    cast(dict[str, Any], Panel.data)["revoke"] = revoke
