"""The inference worker: one process, one device, Celery for the messages and a line for the jobs."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from celery.worker import state as celery_state

from broker.app import make_app
from broker.dispatch import Dispatcher
from broker.queues import queue
from broker.telling import Teller
from db import jobs, workers
from db.engine import Database
from jobs.errors import DatabaseUnavailable
from jobs.kinds import Kind
from jobs.messages import Message
from jobs.needs import own_served, served
from jobs.predicting import Predictor
from jobs.settings import Settings
from models.registry import kinds
from registry.versions import Registry
from storage.files import Storage
from workers import memory
from workers.batcher import Batcher
from workers.bench import Activity, Bench
from workers.devices import CPU, inside
from workers.ending import Endings
from workers.flower import Flower
from workers.hands import Hands
from workers.line import Line, Plant
from workers.loading import Models
from workers.place import EXIT_DEVICE, history
from workers.receiving import KindTask, Place, answer_revoke, connected
from workers.room import Room
from workers.starting import register_shipped
from workers.taker import Taker
from workers.watchdog import Watchdog

log = logging.getLogger("medjobs.workers")

SWITCH_S = 0.0002
"""How long a Python thread may keep the others waiting. A predict takes the interpreter's lock again after every torch
operator, so at Python's default of 5 ms a decoding thread could hold it up dozens of times. Reasoned, not timed."""


class InferenceWorker:
    """Owns the parts, starts them, and takes them down in order."""

    def __init__(self, settings: Settings, device: str, worker_id: str) -> None:
        """Makes everything but opens Redis only in `run`."""
        self.settings = settings
        self.kinds: dict[str, Kind] = {k.name: k for k in kinds().values() if k.pool == "inference" and k.predictor}
        self.db = Database(settings.database, wait_s=settings.database_wait_s)
        self.node = f"{worker_id}@{socket.gethostname()}"
        self.dispatcher = Dispatcher(settings)
        self._draining = threading.Event()
        self._hurry = threading.Event()
        self.bench = Bench()
        self.place = Place(lambda job_id: self.taker.receive(job_id))
        self.flower = Flower(Teller(settings, self.node))
        self.limit = memory.limit(device, settings.device_memory)
        own = [queue for name in settings.set_apart for queue in own_served(name, device)]
        self.fitting = served(device, self.limit)
        self.queues = own or self.fitting
        self.line = Line(self._plant(worker_id))
        device_lock = threading.Lock()

        def batcher(predictor: Predictor) -> Batcher:
            delay_s = settings.batch_delay_ms / 1000
            return Batcher(predictor, self.bench, device_lock, delay_s, self.line.predicted, self._device_lost)

        storage = self.line.plant.storage
        registry = Registry(self.db, storage, settings.home / "cache" / "models")
        self.models = Models(
            self.kinds, registry, inside(device)[0], batcher, self.line.model_ready,
            room=Room(memory.Gauge(inside(device)[0]), self.limit), cpu_fallback=settings.cpu_fallback,
            only=settings.set_apart, lost=self._device_lost,
        )  # fmt: skip
        self.line.models = self.models
        self.line.endings = self.endings = Endings(self.db, settings, self.flower, self._freed)
        self.hands = Hands(hand_count(settings), self.bench, self.line.decode)
        self.taker = Taker(self.db, self.line)
        self.worker = workers.Worker(
            worker_id,
            socket.gethostname(),
            os.getpid(),
            "inference",
            device,
            _facts(self.kinds, self.node, self.queues),
        )

    def run(self) -> int:
        """Serve until told to stop; the exit status."""
        sys.setswitchinterval(SWITCH_S)
        register_shipped(self.db, self.line.plant.storage)
        workers.register(self.db, self.worker)
        warm = self.models.warm if self.settings.warm_models else None
        self.watchdog = Watchdog(
            self.db,
            self.line,
            self.settings,
            self.worker,
            self._activities,
            self.drain,
            warm,
            connected=self._connected,
            resident=self.models.resident,
        )
        answer_revoke(self._cancel_soon)
        queues = [queue("inference", need) for need in self.queues]
        app = make_app(self.settings, also=queues if self.settings.set_apart else ())
        for kind in self.kinds:
            app.register_task(KindTask(kind, self.place))
        self.controller = app.WorkController(
            hostname=self.node, pool_cls="threads", concurrency=self.settings.inference_threads, task_events=True,
            queues=queues,
            without_mingle=True, without_gossip=True, loglevel=logging.WARNING,
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.drain())
        log.info("worker %s takes jobs", self.worker.id)
        self.controller.start()
        told = self._draining.is_set()
        if not told:  # Celery returns, too, from what it cannot go on after
            self._return_messages(self.taker.stop())
            self.line.hand_back(list(self.line.held.values()))
        self._close()
        return 0 if told else 1

    def drain(self) -> None:
        """Stop taking, finish what is held within `drain_s`, hand back the rest. Asked twice: hand back now."""
        if self._draining.is_set():
            self._hurry.set()
            return
        self._draining.set()
        threading.Thread(target=self._drain, name="drain", daemon=True).start()

    def _drain(self) -> None:
        log.info("draining: %d jobs are held", len(self.line.held))
        until = time.monotonic() + self.settings.drain_s
        self.watchdog.state = "draining"
        self._stop_consuming()
        self.place.receive = lambda job_id: None  # its row is still queued, and the keeper sends it again
        self._return_messages(self.taker.stop())
        while time.monotonic() < until and not self._hurry.is_set() and not self.line.wait_until_empty(0.2):
            pass
        self.line.hand_back(list(self.line.held.values()))
        celery_state.should_stop = 0
        if self.place.hub is not None:
            self.place.hub.call_soon(lambda: None)

    def _stop_consuming(self) -> None:
        consumer = getattr(self.controller, "consumer", None)
        if consumer is not None and consumer.hub is not None and consumer.task_consumer is not None:
            consumer.hub.call_soon(consumer.task_consumer.cancel)

    def _return_messages(self, ids: Sequence[str]) -> None:
        """Messages that were received and not claimed go back to Redis, so that another worker has them at once."""
        if ids:
            from db.reading import get_many

            try:
                views = get_many(self.db, ids)
            except DatabaseUnavailable:
                log.warning("the database is away; the keeper sends %d messages again", len(ids))
                return
            self.dispatcher.send([Message(view.id, view.kind, view.pool, view.priority, view.queue) for view in views])

    def _device_lost(self, blame: bool) -> None:
        """Each further call would fail like this one: the process ends as by a crash, and its supervisor starts another
        one. Where one of the jobs that are held may be to blame, each is charged a crash, and soon runs alone."""
        if self.worker.device == CPU:
            return
        try:
            if not blame:
                jobs.abandon_worker(self.db, self.worker.id, charge=False)
        finally:
            os._exit(EXIT_DEVICE)

    def _close(self) -> None:
        self.endings.close(10)
        self.watchdog.stop()
        self.models.close()
        self.bench.close()
        workers.gone(self.db, self.worker.id)
        self.db.close()
        log.info("worker %s has stopped", self.worker.id)

    def _freed(self, ids: Sequence[str]) -> None:
        self.line.forget(ids)
        self.place.leave(ids)

    def _cancel_soon(self, ids: list[str]) -> None:
        """Flower's button: durable first, and at once here if the job runs here."""

        def cancel() -> None:
            for job_id in ids:
                answer = jobs.request_cancel(self.db, job_id, None)
                if answer is not None and answer.accepted:
                    self.line.cancel(job_id)
                    self.flower.tell([self.flower.revoked(job_id)])

        threading.Thread(target=cancel, name="cancel", daemon=True).start()

    def _connected(self) -> bool:
        return connected(getattr(self, "controller", None))

    def _activities(self) -> Iterator[Activity]:
        yield from self.hands.activities
        yield from self.models.activities
        for loaded in self.models.all():
            yield loaded.batcher.activity

    def _plant(self, worker_id: str) -> Plant:
        scratch = self.settings.home / "scratch" / worker_id
        cache = self.settings.home / "cache"
        storage = Storage(self.settings.storage, cache)
        return Plant(
            self.db,
            storage,
            self.settings,
            self.kinds,
            worker_id,
            scratch,
            self.flower,
            self.bench,
            self.queues,
            self.fitting,
            self.place.leave,
        )


def hand_count(settings: Settings) -> int:
    """Threads that decode and encode: one per processor that the predict does not use, two at least."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return min(8, max(2, available - settings.torch_threads))


def _facts(known: dict[str, Kind], node: str, queues: list[str]) -> dict[str, Any]:
    from workers.provenance import code_version

    return {"kinds": sorted(known), "code_version": code_version(), "node": node, "queues": queues, **history()}
