"""Prometheus metrics. What is true of all processes comes from SQL when it is asked for; the rest is this process's.

Labels are kinds, priorities, states, codes, workers and route patterns: closed sets, and never a caller's text.
Every API process shows the same truth of the database, so a query takes the `max` over instances of those, and the
`sum` of what begins with `medjobs_http_` or is `medjobs_jobs_submitted_total`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as Counted
from collections.abc import Iterable
from typing import NamedTuple, get_args

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from api import fleet, totals
from api.holds import Holds
from db import depths, tallies, workers
from db.conditions import Conditions, conditions
from db.engine import Database
from db.tallies import Tally
from db.workers import Worker
from jobs.errors import DatabaseUnavailable, StorageUnavailable
from jobs.kinds import Pool
from jobs.settings import Settings
from jobs.states import State
from models.registry import kinds
from storage.files import Storage

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
"""A method is text from outside too: others are counted as `other`."""

REMEMBERED_S = 1.0
"""The figures from SQL are counted at most once in this time: the route needs no token."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Seconds: from a cached answer to an upload of gigabytes."""


class Metrics:
    """The metrics of one API process."""

    def __init__(self, database: Database, storage: Storage, settings: Settings, holds: Holds) -> None:
        """A registry of its own: two applications in one process do not meet."""
        self._registry = CollectorRegistry()
        self._registry.register(_Truth(database, storage, settings, holds))
        self._submits = Counter(
            "medjobs_jobs_submitted", "Jobs accepted by this process.", ["kind"], registry=self._registry
        )
        self._requests = Histogram(
            "medjobs_http_request_duration_seconds",
            "Time to answer, by route pattern; waits and streams are left out.",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self._registry,
        )

    def submitted(self, kind: str, count: int = 1) -> None:
        """Count accepted jobs of a kind that exists."""
        self._submits.labels(kind).inc(count)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        shown = method if method in METHODS else "other"
        self._requests.labels(shown, route, str(status)).observe(seconds)

    def exposed(self) -> tuple[bytes, str]:
        """The text format and its media type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _Seen(NamedTuple):
    """What one look at the database found."""

    depths: list[depths.Depth]
    conditions: Conditions
    totals: list[Tally]
    live: list[Worker]


class _Truth:
    """Figures over all jobs and processes, from the database."""

    def __init__(self, database: Database, storage: Storage, settings: Settings, holds: Holds) -> None:
        self._database, self._storage, self._settings, self._holds = database, storage, settings, holds
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._seen: _Seen | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing: prometheus_client would otherwise query the database at registration."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families; a database that is away leaves out its own."""
        yield _gauge("medjobs_http_held_requests", "Waits and streams that this process holds.", self._holds.taken)
        yield from self._room()
        yield _kinds()
        seen = self._look()
        yield _gauge("medjobs_database_up", "Whether the database answered.", 0 if seen is None else 1)
        if seen is not None:
            yield from _families(seen.depths)
            yield from _conditions(seen.conditions)
            yield from totals.families(seen.totals, kinds())
            yield from fleet.families(seen.live)

    def _look(self) -> _Seen | None:
        db = self._database
        with self._lock:
            if time.monotonic() - self._looked_at > REMEMBERED_S:
                try:
                    live = workers.live(db, self._settings.worker_dead_s)
                    self._seen = _Seen(depths.queue_depths(db), conditions(db), tallies.standing(db), live)
                except DatabaseUnavailable:
                    self._seen = None
                self._looked_at = time.monotonic()
            return self._seen

    def _room(self) -> Iterable[Metric]:
        """Of a local disk; an object store has no end to show."""
        family = GaugeMetricFamily(
            "medjobs_storage_bytes", "The disk of the storage, where it is one.", labels=["what"]
        )
        try:
            room = self._storage.room()
        except (StorageUnavailable, FileNotFoundError):
            room = None
        if room is not None:
            family.add_metric(["size"], room.size)
            family.add_metric(["free"], room.free)
        yield family


def _kinds() -> Metric:
    """Which kinds there are, and the pool of each: to join with what is told by kind."""
    family = GaugeMetricFamily("medjobs_kind_info", "The pool that runs a kind's jobs.", labels=["kind", "pool"])
    for kind in kinds().values():
        family.add_metric([kind.name, kind.pool], 1)
    return family


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """One number; a family without a sample where there is none."""
    family = GaugeMetricFamily(name, text)
    if value is not None:
        family.add_metric([], value)
    return family


def _conditions(found: Conditions) -> Iterable[Metric]:
    yield _gauge("medjobs_jobs_unsent", "Jobs that are due and not announced to the workers: Redis or the keepers are "
                 "away.", found.unsent)  # fmt: skip
    yield _gauge("medjobs_keeper_silent_seconds", "Since a keeper last looked.", found.keeper_silent_s)
    yield _gauge("medjobs_webhooks_waiting", "Webhooks that are to be called.", found.webhooks_waiting)
    yield _gauge(
        "medjobs_long_job_silent_seconds", "Longest silence of a long job that runs.", found.long_silent_s or 0
    )


def _families(found: Iterable[depths.Depth]) -> Iterable[Metric]:
    labels = ["kind", "priority"]
    waiting = GaugeMetricFamily("medjobs_jobs_queued", "Jobs that wait.", labels=labels)
    running = GaugeMetricFamily("medjobs_jobs_running", "Jobs that run.", labels=labels)
    oldest = GaugeMetricFamily("medjobs_queue_oldest_seconds", "Age of the oldest job that waits.", labels=labels)
    pools = GaugeMetricFamily("medjobs_pool_queued", "Jobs that wait, of each pool.", labels=["pool"])
    waits: Counted[str] = Counted(dict.fromkeys(get_args(Pool), 0))
    for pool, kind, priority, state, count, oldest_s in found:
        values = [kind, str(priority)]
        if state is State.QUEUED:
            waits[pool] += count
            waiting.add_metric(values, count)
            oldest.add_metric(values, oldest_s)
        else:
            running.add_metric(values, count)
    for pool, count in waits.items():
        pools.add_metric([pool], count)
    return waiting, running, oldest, pools
