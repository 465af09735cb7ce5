"""The models that this process has loaded, each with its batcher; loading happens in threads of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobs.errors import JobError, ModelUnusable
from jobs.kinds import Kind, resolve
from jobs.predicting import Predictor
from models.catalogue import UnknownModel
from registry.versions import Registry
from workers.attempt import Attempt
from workers.batcher import Batcher
from workers.bench import Activity
from workers.blame import as_job_error
from workers.metrics import PHASE
from workers.provenance import Used

log = logging.getLogger("medjobs.workers")


LOADERS = 2
"""Threads that load: a job's small model need not wait until a large one, ordered at the start, is there."""


class Pinned(NamedTuple):
    """What is loaded: a kind, and the model version that the job pinned, if its kind has models."""

    kind: str
    model: str | None
    version: int | None


@dataclass(eq=False)
class Loaded:
    """A model ready to predict."""

    pinned: Pinned
    used: Used | None
    predictor: Predictor
    batcher: Batcher
    facts: Mapping[str, Any]
    """The predictor's own part of the provenance."""

    held: int = 0
    """Attempts that use it: while there are any it is not evicted. Changed under the lock of `Models`."""


Ready = Callable[[Attempt, Loaded | JobError], None]
"""Called in the loader's thread for each attempt that waited."""


class Models:
    """Loads on demand, keeps the `most` that were used last."""

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        registry: Registry,
        device: str,
        batcher: Callable[[Predictor], Batcher],
        ready: Ready,
        most: int = 8,
    ) -> None:
        """`batcher` makes the queue in front of a predictor; `ready` is told when an attempt's model is there."""
        self.activities = [Activity() for _ in range(LOADERS)]
        self._kinds = kinds
        self._registry = registry
        self._device = device
        self._batcher = batcher
        self._ready = ready
        self._most = most
        self._lock = threading.Lock()
        self._loaded: dict[Pinned, Loaded] = {}
        self._waiting: dict[Pinned, deque[Attempt]] = {}
        self._defaults: dict[str, Pinned] = {}
        """By kind, the default that was last ordered: one that was evicted since must not push out another."""

        self._orders: queue.SimpleQueue[Pinned | None] = queue.SimpleQueue()
        for activity in self.activities:
            threading.Thread(target=self._run, args=(activity,), name="loader", daemon=True).start()

    def get(self, attempt: Attempt) -> Loaded | None:
        """The attempt's model where it is loaded; else None, and `ready` is called for the attempt later. Either way
        the attempt holds it until `leave`."""
        claim = attempt.claim
        pinned = Pinned(claim.kind, claim.model_name, claim.model_version)
        with self._lock:
            loaded = self._loaded.pop(pinned, None)
            if loaded is not None:
                self._loaded[pinned] = loaded  # a dict keeps its order: the last used stands last
                loaded.held += 1
                return loaded
            ordered = pinned in self._waiting
            self._waiting.setdefault(pinned, deque()).append(attempt)
        if not ordered:
            self._orders.put(pinned)
        return None

    def leave(self, loaded: Loaded) -> None:
        """An attempt that held this model is over."""
        with self._lock:
            loaded.held -= 1

    def warm(self) -> None:
        """Order each kind's default model where it has moved since the last time (at first: always), so that a job does
        not wait for it. Costs a small query per kind; raises `DatabaseUnavailable`."""
        for kind in self._kinds.values():
            pinned = self._default(kind)
            if pinned is None or self._defaults.get(kind.name) == pinned:
                continue
            self._defaults[kind.name] = pinned
            with self._lock:
                if pinned in self._waiting or pinned in self._loaded:
                    continue
                self._waiting[pinned] = deque()
            self._orders.put(pinned)

    def all(self) -> list[Loaded]:
        """Everything loaded."""
        with self._lock:
            return list(self._loaded.values())

    def close(self) -> None:
        """Stop loading and let the batchers finish."""
        for _ in self.activities:
            self._orders.put(None)
        for loaded in self.all():
            loaded.batcher.close()

    def _default(self, kind: Kind) -> Pinned | None:
        if kind.default_model is None:
            return Pinned(kind.name, None, None) if kind.shipped is None else None
        try:
            pin = self._registry.pin(kind.default_model)
        except UnknownModel:
            return None
        return Pinned(kind.name, pin.name, pin.number)

    def _run(self, activity: Activity) -> None:
        while (pinned := self._orders.get()) is not None:
            with self._lock:
                waiting = tuple(self._waiting.get(pinned, ()))
            activity.begin("load", waiting)
            made = self._load(pinned)
            took = activity.end()
            PHASE.labels(pinned.kind, "load").observe(took)
            log.info("loaded %s in %.1f s", name_of(pinned), took) if isinstance(made, Loaded) else None
            with self._lock:
                parked = self._waiting.pop(pinned, deque())
                if isinstance(made, Loaded):
                    self._loaded[pinned] = made
                    made.held += len(parked)
            for attempt in parked:
                self._ready(attempt, made)
            self._evict()

    def _load(self, pinned: Pinned) -> Loaded | JobError:
        kind = self._kinds[pinned.kind]
        try:
            used = None
            if pinned.model is not None and pinned.version is not None:
                used = Used.of(self._registry, pinned.model, pinned.version)
            predictor: Predictor = resolve(kind.predictor or "")(used and used.version, self._device)
            return Loaded(pinned, used, predictor, self._batcher(predictor), predictor.provenance())
        except UnknownModel:
            return ModelUnusable("The registry does not hold the pinned model version.")
        except Exception as error:
            coded = as_job_error(error, "load")
            log.error("%s cannot be loaded: %s", name_of(pinned), coded.code)
            return coded if coded.retryable or isinstance(coded, ModelUnusable) else ModelUnusable()

    def _evict(self) -> None:
        with self._lock:
            idle = [pinned for pinned, loaded in self._loaded.items() if loaded.held == 0]
            surplus = idle[: max(0, len(self._loaded) - self._most)]
            gone = [self._loaded.pop(pinned) for pinned in surplus]
        for loaded in gone:
            loaded.batcher.close()


def name_of(pinned: Pinned) -> str:
    """For logs and metrics: the kind, with the model and its version if it has one."""
    return pinned.kind if pinned.model is None else f"{pinned.kind} {pinned.model}@{pinned.version}"
