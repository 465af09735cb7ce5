"""Gauges of the workers that live, as their heartbeats left them in the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from prometheus_client.core import GaugeMetricFamily, Metric

from db.workers import Worker
from jobs.kinds import Pool

MEMORY = ("rss", "device_used", "device_total")
"""What of a heartbeat's figures is bytes; more than these are not shown."""

SHARES = ("device_utilisation", "cpu")
"""What of them is a share: of the device's time that it computed, and of a processor's."""


def families(live: Sequence[Worker]) -> Iterator[Metric]:
    """How many there are, and what each holds."""
    yield _pools(live)
    yield _states(live)
    yield _figures(
        live, "medjobs_worker_memory_bytes", "Memory of live workers and of their devices.", "what", MEMORY
    )  # fmt: skip
    yield _figures(
        live, "medjobs_worker_busy_ratio", "Share of its time that a worker's device or processor computed.", "what",
        SHARES,
    )  # fmt: skip
    held = GaugeMetricFamily("medjobs_worker_jobs", "Jobs that a live worker runs (200 at most).", labels=["worker"])
    for worker in live:
        held.add_metric([worker.id], len(worker.running))
    yield held


def _pools(live: Iterable[Worker]) -> Metric:
    """Of every pool, also of one without a worker: an alert cannot see what is absent."""
    counted = Counter(worker.pool for worker in live)
    family = GaugeMetricFamily("medjobs_pool_workers", "Live workers of each pool.", labels=["pool"])
    for pool in get_args(Pool):
        family.add_metric([pool], counted[pool])
    return family


def _states(live: Iterable[Worker]) -> Metric:
    labels = ["pool", "device_kind", "state"]
    counted = Counter((one.pool, one.device.split(":")[0], one.state) for one in live)
    family = GaugeMetricFamily("medjobs_workers", "Live workers by what they run on and do.", labels=labels)
    for values, count in sorted(counted.items()):
        family.add_metric(list(values), count)
    return family


def _figures(live: Iterable[Worker], name: str, text: str, label: str, known: Sequence[str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["worker", "pool", "device", label])
    for worker in live:
        for what in known:
            value = worker.memory.get(what)
            if isinstance(value, int | float):
                family.add_metric([worker.id, worker.pool, worker.device, what], value)
    return family
