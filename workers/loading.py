"""The models that this process has loaded, each with its batcher; loading happens in threads of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobs.errors import DeviceLost, JobError, ModelTooLarge, ModelUnusable, OutOfMemory
from jobs.kinds import Kind, resolve
from jobs.needs import ANY, declared
from jobs.predicting import Predictor
from models.catalogue import UnknownModel
from registry.versions import Registry
from workers.attempt import Attempt
from workers.batcher import Batcher, Lost
from workers.bench import Activity
from workers.blame import as_job_error, device_absent, out_of_memory
from workers.devices import CPU
from workers.memory import Gauge
from workers.metrics import PHASE
from workers.provenance import Used
from workers.relief import OnDevice
from workers.room import Room

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

    declared: int = 0
    weights: int = 0
    """Bytes of the device: as its manifest or kind says, and as seen at the load (0: not known)."""

    held: int = 0
    """Attempts that use it: while there are any it is not evicted. Changed under the lock of `Models`."""

    @property
    def takes(self) -> int:
        """Bytes of the device that it counts for."""
        return max(self.declared, self.weights + self.batcher.peak if self.weights else 0)


Ready = Callable[[Attempt, Loaded | JobError], None]
"""Called in the loader's thread for each attempt that waited."""


class Models:
    """Loads on demand, keeps the `most` that were used last, and of them no more than the device has room for."""

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        registry: Registry,
        device: str,
        batcher: Callable[[Predictor], Batcher],
        ready: Ready,
        most: int = 8,
        room: Room | None = None,
        cpu_fallback: bool = False,
        only: Sequence[str] = (),
        lost: Lost = lambda blame: None,
    ) -> None:
        """`batcher` makes the queue in front of a predictor; `ready` is told when an attempt's model is there; `room`
        is that of the device (None: without a bound); `only`: models that the worker is set apart for."""
        self._lost = lost
        self.room = room or Room(Gauge(device), None)
        self._cpu_fallback = cpu_fallback
        self._only = only
        self._sizes: dict[Pinned, tuple[int, int]] = {}
        """What models were seen to take that were loaded before: at the load, and in all."""

        self._admissions: dict[Pinned, int] = {}
        """What the loads under way were given room for; a model is loaded by one thread at a time."""

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
        self._behind: deque[Attempt] = deque()
        """Attempts that came while a load wanted the room of the models in use: they ask again after it."""

        self._defaults: dict[str, Pinned] = {}
        """By kind or model, the default that was last ordered: one that was evicted since must not push out another."""

        self._orders: queue.SimpleQueue[Pinned | None] = queue.SimpleQueue()
        for activity in self.activities:
            threading.Thread(target=self._run, args=(activity,), name="loader", daemon=True).start()

    def get(self, attempt: Attempt) -> Loaded | None:
        """The attempt's model where it is loaded; else None, and `ready` is called for the attempt later. Either way
        the attempt holds it until `leave`."""
        claim = attempt.claim
        pinned = Pinned(claim.kind, claim.model_name, claim.model_version)
        with self._lock:
            if self.room.closing and pinned in self._loaded:
                self._behind.append(attempt)
                return None
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
        self.room.changed()

    def warm(self) -> None:
        """Order each kind's default model, or those that the worker is set apart for, where it has moved since the last
        time (at first: always), so that a job does not wait for it. Costs a small query each; raises
        `DatabaseUnavailable`."""
        found = {name: self._in_production(name) for name in self._only}
        for name, pinned in (found or {kind.name: self._default(kind) for kind in self._kinds.values()}).items():
            if pinned is None or self._defaults.get(name) == pinned:
                continue
            self._defaults[name] = pinned
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

    def resident(self) -> dict[str, Any]:
        """For the heartbeat: the models that are loaded, the bytes that each counts for, and what there is for all."""
        models = [
            {"kind": one.pinned.kind, "model": one.pinned.model, "version": one.pinned.version, "bytes": one.takes}
            for one in self.all()
        ]
        return {"limit": self.room.limit, "models": models}

    def _default(self, kind: Kind) -> Pinned | None:
        if kind.default_model is None:
            return Pinned(kind.name, None, None) if kind.shipped is None else None
        return self._in_production(kind.default_model)

    def _in_production(self, model: str) -> Pinned | None:
        try:
            pin = self._registry.pin(model)
        except UnknownModel:
            return None
        return Pinned(pin.kind, pin.name, pin.number) if pin.kind in self._kinds else None

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
            if pinned in self._admissions:
                self.room.done(self._admissions.pop(pinned))
            for attempt in parked:
                self._ready(attempt, made)
            self._evict()

    def _load(self, pinned: Pinned) -> Loaded | JobError:
        try:
            return self._admitted(pinned)
        except UnknownModel:
            return ModelUnusable("The registry does not hold the pinned model version.")
        except Exception as error:
            coded = as_job_error(error, "load")
            log.error("%s cannot be loaded: %s", name_of(pinned), coded.code)
            if isinstance(coded, DeviceLost):
                if self._device == CPU:
                    return ModelUnusable()  # it asks for a GPU, and was given none
                self._lost(not device_absent(error))
            known = coded.retryable or isinstance(coded, ModelUnusable | ModelTooLarge)
            return coded if known else ModelUnusable()

    def _admitted(self, pinned: Pinned) -> Loaded:
        """Loaded once there is room for it. Where memory runs out all the same, again without the idle models."""
        kind, used = self._kinds[pinned.kind], None
        if pinned.model is not None and pinned.version is not None:
            used = Used.of(self._registry, pinned.model, pinned.version)
        said = declared(used.version.manifest)[1] if used else None
        weights, seen = self._sizes.get(pinned, (0, 0))
        # What was seen is in part what ran beside it, and it did run: it makes others give way, and refuses nothing.
        need = max(said or kind.memory_bytes or 0, min(seen, self.room.limit or seen))
        try:
            ticket = self.room.admit(need, self._taken, self._let_go)
        finally:
            self._go_on()
        self._admissions[pinned] = need
        before = self.room.gauge.taken()
        predictor = self._predictor(kind, used)
        grown = max(0, self.room.gauge.taken() - before)
        loaded = Loaded(pinned, used, predictor, self._batcher(predictor), predictor.provenance())
        loaded.declared = said or kind.memory_bytes or 0
        loaded.weights = grown if self.room.alone(ticket) else weights
        self._equip(loaded, kind)
        return loaded

    def _go_on(self) -> None:
        """A load has its room, or gave up: whoever stood back for it asks again."""
        with self._lock:
            behind, self._behind = self._behind, deque()
        for attempt in behind:
            loaded = self.get(attempt)
            if loaded is not None:
                self._ready(attempt, loaded)

    def _predictor(self, kind: Kind, used: Used | None) -> Predictor:
        made = self._resolved(kind, used, self._device)
        if isinstance(made, OutOfMemory):  # its exception is gone, and with it what its frames held
            while self._let_go():
                pass
            self.room.gauge.free()
            made = self._resolved(kind, used, self._device)
        if isinstance(made, OutOfMemory):
            raise made
        return made

    def _resolved(self, kind: Kind, used: Used | None, device: str) -> Predictor | OutOfMemory:
        try:
            predictor: Predictor = resolve(kind.predictor or "")(used and used.version, device)
            return predictor
        except Exception as error:
            if out_of_memory(error):
                return OutOfMemory()
            raise

    def _equip(self, loaded: Loaded, kind: Kind) -> None:
        """What its batcher does when memory runs out, and by what it is measured."""
        used = loaded.used
        allowed = self._cpu_fallback and self._device != CPU and self._device_of(loaded, kind) == ANY

        def on_cpu() -> Predictor:
            made = self._resolved(kind, used, CPU)
            if isinstance(made, OutOfMemory):
                raise made
            return made

        loaded.batcher.gauge = self.room.gauge
        loaded.batcher.relief = OnDevice(self.room.gauge.free, self._let_go, on_cpu if allowed else None)

    def _device_of(self, loaded: Loaded, kind: Kind) -> str:
        return (declared(loaded.used.version.manifest)[0] if loaded.used else None) or kind.device

    def _taken(self) -> int:
        return sum(one.takes for one in self.all())

    def _let_go(self) -> bool:
        """Evict the idle model that was used longest ago; False where there is none. One that still predicts for
        attempts that were cancelled or took too long holds its memory."""
        with self._lock:
            free = (pinned for pinned, one in self._loaded.items() if one.held == 0 and not one.batcher.busy)
            idle = next(free, None)
            if idle is None:
                return False
            loaded = self._loaded.pop(idle)
        self._close(loaded)
        return True

    def _close(self, loaded: Loaded) -> None:
        self._sizes[loaded.pinned] = loaded.weights, loaded.takes
        log.info("%s gives way", name_of(loaded.pinned))
        loaded.batcher.close()
        loaded.batcher.join()
        self.room.changed()

    def _evict(self) -> None:
        with self._lock:
            surplus = len(self._loaded) - self._most
        while surplus > 0 and self._let_go():
            surplus -= 1


def name_of(pinned: Pinned) -> str:
    """For logs and metrics: the kind, with the model and its version if it has one."""
    return pinned.kind if pinned.model is None else f"{pinned.kind} {pinned.model}@{pinned.version}"
