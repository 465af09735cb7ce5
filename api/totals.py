"""The running totals of db/tallies.py as Prometheus counters and histograms."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from db import tallies
from db.tallies import Tally
from jobs.errors import WorkerCrashed
from jobs.states import Outcome, State


class _Counter(NamedTuple):
    name: str
    text: str
    labels: list[str]


class _Histogram(NamedTuple):
    name: str
    text: str
    labels: list[str]
    bounds: tuple[float, ...]


_COUNTERS = {
    tallies.JOBS: _Counter(
        "medjobs_jobs_ended", "Jobs that ended, by their state and the error's code.", ["kind", "state", "code"]
    ),
    tallies.ATTEMPTS: _Counter(
        "medjobs_attempts_ended", "Attempts that ended; lease-expired and worker-lost ran again.",
        ["kind", "outcome", "code"],
    ),
    tallies.WEBHOOKS: _Counter("medjobs_webhooks", "Calls of webhooks by what came of them.", ["outcome"]),
}  # fmt: skip
_HISTOGRAMS = {
    tallies.WAIT: _Histogram(
        "medjobs_job_wait_seconds", "From the submission (or run_after) to the first start.", ["kind"], tallies.SECONDS
    ),
    tallies.RUN: _Histogram(
        "medjobs_attempt_run_seconds", "How long attempts ran.", ["kind", "outcome"], tallies.SECONDS
    ),
    tallies.BATCHES: _Histogram(
        "medjobs_batch_items", "Items that a model predicted together.", ["kind"], tallies.ITEMS
    ),
}  # fmt: skip


def families(standing: Iterable[Tally], kinds: Iterable[str]) -> Iterator[Metric]:
    """Every family, those without a sample too. Some begin at 0: the first step of a series that appears with it is no
    increase to Prometheus, and of these the first counts."""
    sorted_by: dict[str, list[Tally]] = defaultdict(list)
    for one in tallies.summed([*standing, *_beginnings(kinds)]):
        sorted_by[one.what].append(one)
    for what, counter in _COUNTERS.items():
        yield _counted(counter, sorted_by[what])
    for what, histogram in _HISTOGRAMS.items():
        yield _spread(histogram, sorted_by[what])


def _beginnings(kinds: Iterable[str]) -> Iterator[Tally]:
    for outcome in ("delivered", "failed", "given-up"):
        yield Tally(tallies.WEBHOOKS, "", outcome, times=0)
    for kind in kinds:
        yield Tally(tallies.JOBS, kind, State.SUCCEEDED.value, times=0)
        yield Tally(tallies.JOBS, kind, State.FAILED.value, WorkerCrashed.code, times=0)
        yield Tally(tallies.ATTEMPTS, kind, Outcome.LEASE_EXPIRED.value, times=0)
        yield Tally(tallies.ATTEMPTS, kind, Outcome.WORKER_LOST.value, times=0)


def _counted(shape: _Counter, standing: Iterable[Tally]) -> Metric:
    family = CounterMetricFamily(shape.name, shape.text, labels=shape.labels)
    for one in standing:
        values = {"kind": one.kind, "state": one.label, "outcome": one.label, "code": one.code}
        family.add_metric([values[label] for label in shape.labels], one.times)
    return family


def _spread(shape: _Histogram, standing: Iterable[Tally]) -> Metric:
    """Cumulated, as Prometheus wants it. A bound of an earlier release counts in the next larger one of today's."""
    family = HistogramMetricFamily(shape.name, shape.text, labels=shape.labels)
    series: dict[tuple[str, ...], list[Tally]] = defaultdict(list)
    for one in standing:
        series[(one.kind, one.label)[: len(shape.labels)]].append(one)
    for labels, buckets in series.items():
        below = [
            (_text(bound), float(sum(one.times for one in buckets if one.bucket <= bound)))
            for bound in (*shape.bounds, math.inf)
        ]
        family.add_metric(labels, below, sum(one.total for one in buckets))
    return family


def _text(bound: float) -> str:
    return "+Inf" if bound == math.inf else str(bound)
