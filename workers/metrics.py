"""What a worker measures of itself, for Prometheus (docs/operations.md lists it).

Set and counted whether anybody asks or not: it costs a microsecond. Who is asked serves them: workers/exposing.py.
Labels are devices, phases, kinds and names of registered models; never a caller's text.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Gauge, Histogram

from db import tallies
from db.tallies import ITEMS, Tally

REGISTRY = CollectorRegistry()

PHASES_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""A table's row is decoded in half a millisecond, a long CT series in a minute."""

BATCH = Histogram(
    "medjobs_model_batch_items", "Items that this worker's models predicted together.", ["model"],
    buckets=ITEMS, registry=REGISTRY,
)  # fmt: skip
PHASE = Histogram(
    "medjobs_phase_seconds", "Time in a phase: of an item, of predict a whole batch, of load a model.",
    ["kind", "phase"], buckets=PHASES_S, registry=REGISTRY,
)  # fmt: skip


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    """Of one worker; under a supervisor there is one worker for each device (or set of them)."""
    every = ("pool", "device", *labels)
    return Gauge(name, text, every, registry=REGISTRY, multiprocess_mode="livemostrecent")


MODELS = _gauge("medjobs_models_loaded", "Models in this worker's memory.")
LEASES = _gauge("medjobs_leases_held", "Jobs under this worker's lease.")
CONNECTED = _gauge("medjobs_broker_connected", "Whether this worker's Celery is connected to Redis.")
MEMORY = _gauge("medjobs_memory_bytes", "Memory of this worker (rss) and of its device.", "what")
BUSY = _gauge("medjobs_busy_ratio", "Share of its time that the device or a processor worked.", "what")


def show(pool: str, device: str, figures: Mapping[str, float]) -> None:
    """Set the gauges of memory and load to a heartbeat's figures (workers/usage.py)."""
    for what, value in figures.items():
        gauge = BUSY if what in ("cpu", "device_utilisation") else MEMORY
        gauge.labels(pool, device, what).set(value)


class Batches:
    """Sizes of batches since the last heartbeat, which takes them to the database."""

    def __init__(self) -> None:
        """None yet."""
        self._lock = threading.Lock()
        self._waiting: list[Tally] = []

    def count(self, kind: str, model: str, items: int) -> None:
        """A batch was predicted."""
        BATCH.labels(model).observe(items)
        with self._lock:
            self._waiting.append(tallies.observed(tallies.BATCHES, kind, items, bounds=ITEMS))

    def take(self) -> list[Tally]:
        """Those that the database does not know yet, summed."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return tallies.summed(taken)

    def give_back(self, taken: Iterable[Tally]) -> None:
        """The database did not take them."""
        with self._lock:
            self._waiting.extend(taken)
