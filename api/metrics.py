"""Prometheus metrics. What is true of all processes comes from SQL when it is asked for; the rest is this process's.

Labels are kinds, priorities, states and route patterns: closed sets, and never a caller's text.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from api.holds import Holds
from db import depths
from db.engine import Database
from jobs.errors import DatabaseUnavailable
from jobs.states import State

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})
"""A method is text from outside too: others are counted as `other`."""

REMEMBERED_S = 1.0
"""The figures from SQL are counted at most once in this time: the route needs no token."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Seconds: from a cached answer to an upload of gigabytes."""


class Metrics:
    """The metrics of one API process."""

    def __init__(self, database: Database, holds: Holds) -> None:
        """A registry of its own: two applications in one process do not meet."""
        self._registry = CollectorRegistry()
        self._registry.register(_Queue(database, holds))
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


class _Queue:
    """Figures over all jobs, from the database."""

    def __init__(self, database: Database, holds: Holds) -> None:
        self._database, self._holds = database, holds
        self._lock = threading.Lock()
        self._counted_at = float("-inf")
        self._depths: list[depths.Depth] | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing: prometheus_client would otherwise query the database at registration."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The families; a database that is away leaves out its own."""
        held = GaugeMetricFamily("medjobs_http_held_requests", "Waits and streams that this process holds.")
        held.add_metric([], self._holds.taken)
        yield held
        found = self._counted()
        up = GaugeMetricFamily("medjobs_database_up", "Whether the database answered.")
        up.add_metric([], 0 if found is None else 1)
        yield up
        yield from _families(found or [])

    def _counted(self) -> list[depths.Depth] | None:
        with self._lock:
            if time.monotonic() - self._counted_at > REMEMBERED_S:
                try:
                    self._depths = depths.queue_depths(self._database)
                except DatabaseUnavailable:
                    self._depths = None
                self._counted_at = time.monotonic()
            return self._depths


def _families(found: Iterable[depths.Depth]) -> Iterable[Metric]:
    labels = ["kind", "priority"]
    waiting = GaugeMetricFamily("medjobs_jobs_queued", "Jobs that wait.", labels=labels)
    running = GaugeMetricFamily("medjobs_jobs_running", "Jobs that run.", labels=labels)
    oldest = GaugeMetricFamily("medjobs_queue_oldest_seconds", "Age of the oldest job that waits.", labels=labels)
    for _, kind, priority, state, count, oldest_s in found:
        values = [kind, str(priority)]
        if state is State.QUEUED:
            waiting.add_metric(values, count)
            oldest.add_metric(values, oldest_s)
        else:
            running.add_metric(values, count)
    return waiting, running, oldest
